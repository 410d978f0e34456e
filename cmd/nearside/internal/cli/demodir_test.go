package cli

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a killed demo has left is removed by the next one, and nothing else is.
func TestDemoDirs(t *testing.T) {
	in := t.TempDir()
	dead, lock, err := makeDemoDir(in)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close() // as the end of its process does
	alive, lock, err := makeDemoDir(in)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	young, old, other := filepath.Join(in, demoPrefix+"young"), filepath.Join(in, demoPrefix+"old"), filepath.Join(in, "other")
	for _, dir := range []string{young, old, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * demoYoung)
	os.Chtimes(old, long, long)
	os.Chtimes(other, long, long)
	foreign := map[string]bool{}
	if os.Getuid() == 0 { // else nothing can be given to another user
		theirs := filepath.Join(in, demoPrefix+"theirs")
		if err := os.Mkdir(theirs, 0o700); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(theirs, long, long)
		if err := os.Chown(theirs, 1, 1); err != nil {
			t.Fatal(err)
		}
		foreign[theirs] = true
	}
	link := filepath.Join(in, demoPrefix+"link")
	os.Symlink(other, link)
	next, lock2, err := makeDemoDir(in)
	if err != nil {
		t.Fatal(err)
	}
	defer lock2.Close()
	wanted := map[string]bool{dead: false, alive: true, young: true, old: false, other: true, link: true, next: true}
	maps.Copy(wanted, foreign)
	for dir, want := range wanted {
		if _, err := os.Lstat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, expected %v", filepath.Base(dir), err == nil, want)
		}
	}
}
