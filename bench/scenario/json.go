package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/bench/result"
)

const (
	decoding       = "decoding"
	decodingAllocs = "allocations of decoding"
	encoding       = "encoding"
	encodingAllocs = "allocations of encoding"
	accepts        = "damaged values that it accepts"
	differs        = "damaged values that it reads otherwise"
	standardJSON   = "encoding/json"
)

var jsonCodecs = Scenario{
	Name: "json", Title: "JSON libraries",
	Text: "The struct of the other tables, 530 bytes as JSON, one goroutine. In brackets the ratio of the time to encoding/json. A library counts only if it writes the same bytes as that and reads the same value. The last columns are of 20,000 values of which one or two bytes have been replaced by others: what is refused counts as a miss and is loaded again, what is taken is served.",
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "decode", At: "item", Metric: decoding, Floor: standardJSON, Format: result.Seconds},
		{Head: "allocations", At: "item", Metric: decodingAllocs, Format: result.Whole},
		{Head: "encode", At: "item", Metric: encoding, Floor: standardJSON, Format: result.Seconds},
		{Head: "allocations", At: "item", Metric: encodingAllocs, Format: result.Whole},
		{Head: "accepts what encoding/json refuses", At: "item", Metric: accepts, Format: result.Whole},
		{Head: "reads otherwise, or refuses", At: "item", Metric: differs, Format: result.Whole},
	}}},
	Run: func(r *Run) {
		for _, experiment := range []string{"", "jsonv2"} {
			r.Say("go run ./jsoncodecs, GOEXPERIMENT=%s", experiment)
			if err := r.json(experiment); err != nil {
				r.Broken("encoding/json, GOEXPERIMENT="+experiment, "item", err, decoding)
			}
		}
	},
}

func (r *Run) json(experiment string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // it may have to be built
	defer cancel()
	dir, err := moduleDir(ctx)
	if err != nil {
		return err
	}
	// Half of the time, since it is divided between decoding and encoding.
	cmd := exec.CommandContext(ctx, "go", "run", "./jsoncodecs", "-rounds", strconv.Itoa(r.Rounds), "-each", (r.Each / 2).String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOEXPERIMENT="+experiment)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("go run ./jsoncodecs: %w: %s", err, exit.Stderr)
	}
	if err != nil {
		return err
	}
	var figures []struct {
		Library, Version           string
		Decode, Encode             float64
		DecodeAllocs, EncodeAllocs float64
		Accepts, Differs           float64
		Err                        string
	}
	if err := json.Unmarshal(out, &figures); err != nil {
		return fmt.Errorf("what ./jsoncodecs prints: %w", err)
	}
	for _, f := range figures {
		name := strings.TrimSpace(f.Library + " " + f.Version)
		if f.Err != "" {
			r.Broken(name, "item", fmt.Errorf("%s", f.Err), decoding, encoding)
			continue
		}
		r.Record(name, "item", decoding, f.Decode)
		r.Record(name, "item", decodingAllocs, f.DecodeAllocs)
		r.Record(name, "item", encoding, f.Encode)
		r.Record(name, "item", encodingAllocs, f.EncodeAllocs)
		r.Record(name, "item", accepts, f.Accepts)
		r.Record(name, "item", differs, f.Differs)
	}
	return nil
}

// moduleDir is the folder of this module, which the program must be run in.
func moduleDir(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOMOD")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	dir := filepath.Dir(strings.TrimSpace(string(out)))
	if filepath.Base(dir) != "bench" {
		return "", fmt.Errorf("this is measured by running ./jsoncodecs: run the program in the folder bench, not in %s", dir)
	}
	return dir, nil
}
