package cli

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	demoPrefix = "nearside-demo-"
	demoLock   = "lock"    // a file of the folder that its process holds locked
	demoYoung  = time.Hour // a folder without the file may be in the making for so long
)

// makeDemoDir makes a folder for the demo's database in a temporary folder. It removes those that a process has left there which
// was killed. The lock is to be held as long as the folder is used.
func makeDemoDir(in string) (dir string, lock *os.File, err error) {
	left, _ := filepath.Glob(filepath.Join(in, demoPrefix+"*"))
	for _, old := range left {
		if abandoned(old) {
			os.RemoveAll(old)
		}
	}
	if dir, err = os.MkdirTemp(in, demoPrefix); err != nil {
		return "", nil, err
	}
	lock, err = os.OpenFile(filepath.Join(dir, demoLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = lock.Close()
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return dir, lock, nil
}

// abandoned reports whether a folder is ours, and of no process any more.
func abandoned(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Getuid() {
		return false
	}
	lock, err := os.OpenFile(filepath.Join(dir, demoLock), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return os.IsNotExist(err) && time.Since(info.ModTime()) > demoYoung
	}
	defer func() { _ = lock.Close() }()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
