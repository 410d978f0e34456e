//go:build goexperiment.jsonv2

package main

import "encoding/json/v2"

const standard = "encoding/json, GOEXPERIMENT=jsonv2"

func init() {
	libraries = append(libraries[:1:1], library{"encoding/json/v2", "", func(v any) ([]byte, error) { return json.Marshal(v) },
		func(data []byte, v any) error { return json.Unmarshal(data, v) }})
}
