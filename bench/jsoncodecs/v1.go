//go:build !goexperiment.jsonv2

package main

const standard = "encoding/json"
