package main

import (
	"go/format"
	"testing"
)

func TestProgramsAreGo(t *testing.T) {
	for library := range programs {
		text, err := source(library, 3)
		if err == nil {
			_, err = format.Source(text)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", library, err, text)
		}
	}
}
