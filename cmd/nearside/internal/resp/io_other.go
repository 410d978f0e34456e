//go:build !linux

package resp

import "net"

func newWire(nc net.Conn) wire { return &plainWire{nc: nc} }
