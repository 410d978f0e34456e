package reply

import "testing"

// What servers say of a script that came back to a name that it had deleted, while its slot moves.
func TestInterrupted(t *testing.T) {
	for server, text := range map[string]string{
		"Redis 7.0":                       "ERR Error running script: Script attempted to access a non local key in a cluster node script: 80f6b7, on @user_script:147.",
		"Redis 8.0, Valkey 8.1":           "Script attempted to access a non local key in a cluster node script: 80f6b7, on @user_script:147.",
		"Redis 8.0, Valkey 8.1, two keys": "Unable to execute command 'unlink' in script because undeclared keys were accessed during rehashing of the slot script: 80f6b7, on @user_script:147.",
	} {
		if !interrupted(text) {
			t.Errorf("%s: %q is not recognized", server, text)
		}
	}
	for _, text := range []string{"WRONGTYPE Operation against a key holding the wrong kind of value", "OOM command not allowed"} {
		if interrupted(text) {
			t.Errorf("%q is taken for it", text)
		}
	}
}
