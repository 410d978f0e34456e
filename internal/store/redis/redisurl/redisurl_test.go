package redisurl

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for url, want := range map[string]Target{
		"redis://h":                    {Network: "tcp", Addresses: []string{"h:6379"}},
		"redis://u:p%40@h:1/2":         {Network: "tcp", Addresses: []string{"h:1"}, User: "u", Password: "p@", DB: 2},
		"redis://secret@":              {Network: "tcp", Addresses: []string{"127.0.0.1:6379"}, Password: "secret"},
		"redis://a,b:2?cluster=true":   {Mode: Cluster, Network: "tcp", Addresses: []string{"a:6379", "b:2"}},
		"redis-sentinel://a,b:1/m/3":   {Mode: Sentinels, Network: "tcp", Addresses: []string{"a:26379", "b:1"}, Master: "m", DB: 3},
		"unix:///run/redis.sock?db=1":  {Network: "unix", Addresses: []string{"/run/redis.sock"}, DB: 1},
		"rediss://h?server_name=other": {Network: "tcp", Addresses: []string{"h:6379"}},
	} {
		got, err := Parse(url)
		if err != nil || got.Mode != want.Mode || got.Network != want.Network || !slices.Equal(got.Addresses, want.Addresses) ||
			got.User != want.User || got.Password != want.Password || got.DB != want.DB || got.Master != want.Master ||
			(got.TLS != nil) != strings.HasPrefix(url, "rediss") {
			t.Errorf("%s: got %+v, %v", url, got, err)
		}
	}
	if got, _ := Parse("redis://h"); got.Grant("+get") != "ACL SETUSER default +get" {
		t.Errorf("got %q", got.Grant("+get"))
	}
}

// No error shows a password, wherever in a URL it stands.
func TestErrorsShowNoPassword(t *testing.T) {
	for _, url := range []string{
		"s3cret", "redis://u:s3cret", "redis://u:s3cret@h/x", "redis://h:s3cret", "redis://h:70000/s3cret", "redis://u:s3cret#@h",
		"redis://h?password=s3cret", "redis://h?cluster=s3cret", "redis-sentinel://u:s3cret@h", "rediss://u:s3cret@h?ca=/nowhere",
	} {
		if _, err := Parse(url); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
