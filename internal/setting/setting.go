// Package setting has the rule for numbers in the settings of all public packages: zero is the default, a negative number is an
// error, and Off switches off what has a default.
package setting

import (
	"fmt"
	"time"
)

// Off switches a setting off.
const Off = -1

// Number is the type of a setting.
type Number interface {
	~int | ~int64 | ~float64
}

// Check collects the first error of some settings.
type Check struct{ Err error }

// Default sets *v to its default, which may be zero, if it is zero. It fails if *v is negative.
func Default[T Number](c *Check, name string, v *T, otherwise T) {
	switch {
	case *v == 0:
		*v = otherwise
	case !(*v > 0): // NaN too
		c.fail(name, *v, expected(otherwise))
	}
}

// Switch is Default for a setting that Off switches off: *v is zero then.
func Switch[T Number](c *Check, name string, v *T, otherwise T) {
	if *v == Off {
		*v = 0
		return
	}
	if *v < 0 {
		c.fail(name, *v, expected(otherwise)+", or nearside.Off")
		return
	}
	Default(c, name, v, otherwise)
}

// Share fails if v is more than 1.
func Share(c *Check, name string, v float64) {
	if v > 1 {
		c.fail(name, v, "a share between 0 and 1")
	}
}

func expected[T Number](otherwise T) string {
	what := "a positive number"
	if _, is := any(otherwise).(time.Duration); is {
		what = "a positive duration"
	}
	if otherwise == 0 {
		return what + ", or zero"
	}
	return fmt.Sprintf("%s, or zero for %v", what, otherwise)
}

func (c *Check) fail(name string, v any, expected string) {
	if c.Err == nil {
		c.Err = fmt.Errorf("%s is %v: expected %s", name, v, expected)
	}
}
