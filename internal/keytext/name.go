package keytext

import (
	"errors"
	"regexp"
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`)

// ValidName reports whether name has the form of a cache's name.
func ValidName(name string) bool { return nameForm.MatchString(name) }

// CheckName returns an error unless a cache whose keys begin with its name may have it. The first colon of a key ends the name, so
// no two caches collide.
func CheckName(name string) error {
	if !ValidName(name) {
		return errors.New("expected a name of a-z, 0-9, '_', '.' and '-' that begins with a letter or digit")
	}
	if name == "nearside" {
		return errors.New("the layer's own keys begin so: choose another name")
	}
	return nil
}
