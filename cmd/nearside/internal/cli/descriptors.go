package cli

import (
	"log/slog"
	"syscall"
)

const (
	maxHTTP  = 1024 // connections of HTTP at the same time, before authentication too
	ownFiles = 256  // descriptors for Redis, the database and files
)

// descriptors returns how many clients of each kind there may be: fewer than wanted where the process may not open so many
// files, since a client that is not accepted waits and is told nothing.
func descriptors(wanted int, logger *slog.Logger) (clients, http int) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return wanted, maxHTTP
	}
	files := int(limit.Cur)
	http = min(maxHTTP, files/8)
	clients = min(wanted, files-http-min(ownFiles, files/4))
	if clients < wanted {
		logger.Warn("the process may not open enough files for max_clients: raise its limit (ulimit -n, LimitNOFILE)",
			"files", files, "max_clients", wanted, "accepted", clients, "http", http)
	}
	return clients, http
}
