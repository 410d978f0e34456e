package conn

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// The client library trusts a sentinel even more than a server:
//   - it takes words of a message by their number, and panics if there are fewer
//   - it panics at a confirmation that is not the next one, and at an empty answer to the question for the master
//   - it stops reading when 16 messages wait for their handler, which may itself wait for a reply: both then wait for ever
//   - it keeps each address of a sentinel that it was ever told
//
// So on a connection to a sentinel replies are read as a whole, and each is compared with the command that it belongs to. What the
// library has no use for is left out. Sentinels send little: the cost does not matter.

const (
	longestOfSentinel = 256 << 10 // bytes of one reply
	longestCommand    = 4 << 10   // bytes of a command by which a connection is recognised
	mostMessages      = 15        // to one subscription: the library has place for 16
	mostSentinels     = 256       // that are learned, of all groups, besides those of the URLs
	longestAddress    = 256
)

// sentinelChannels are the channels that the library subscribes to, in its order.
var sentinelChannels = []string{"+sentinel", "+slave", "-sdown", "+sdown", "+switch-master", "+reboot"}

var (
	errFlood    = fmt.Errorf("%w: a sentinel sends too many messages", errFraming)
	errMessage  = fmt.Errorf("%w: a message of a sentinel lacks words", errFraming)
	errMismatch = fmt.Errorf("%w: it does not belong to the command", errFraming)
	errProtocol = errors.New("redis: a sentinel has to speak version 3 of the protocol (HELLO 3)")
)

// sender knows from the commands what a connection is used for.
type sender struct {
	command []byte       // of the one that is being sent
	settled bool         // it leads to a server with data
	hello   atomic.Int64 // ordinal of HELLO, plus one; zero: none
	plain   atomic.Int64 // ordinal of the first command after the handshake
}

// note reads commands that are about to be sent.
func (c *checked) note(b []byte) error {
	for len(b) > 0 && !c.sender.settled {
		n, err := c.commands.step(b, true)
		if err != nil {
			return err
		}
		if len(c.sender.command)+n > longestCommand { // no handshake is as long
			ordinal := c.commands.messages
			if c.commands.between() {
				ordinal--
			}
			c.settle(ordinal)
			return c.commands.next(b[n:])
		}
		c.sender.command = append(c.sender.command, b[:n]...)
		if b = b[n:]; c.commands.between() {
			if err := c.command(c.sender.command, c.commands.messages-1); err != nil {
				return err
			}
			c.sender.command = c.sender.command[:0]
		}
	}
	return c.commands.next(b)
}

// command looks at a command. ordinal is how many came before it.
func (c *checked) command(raw []byte, ordinal int64) error {
	v, err := tree(raw)
	if err != nil || len(v.list) == 0 {
		return errFraming
	}
	name := string(bytes.ToUpper(v.list[0].text))
	switch s := c.sentinel; {
	case name == "PING" && ordinal == 0: // whose sender reads the reply
		c.replies.ping = true
	case name == "HELLO":
		first := c.sender.hello.Load() == 0
		if old := len(v.list) > 1 && string(v.list[1].text) == "2"; first && old && s != nil {
			return errProtocol
		}
		if !first {
			ordinal = math.MaxInt64 - 1 // the client has fallen back to version 2
		}
		c.sender.hello.Store(ordinal + 1)
	case s != nil && (name == "SENTINEL" || name == "SUBSCRIBE" || name == "UNSUBSCRIBE" || s.known()):
		return s.expect(name, v.list, ordinal)
	case s != nil && name == "ROLE":
		s.mayNotBeEmpty(ordinal)
	case name != "PING" && name != "AUTH" && name != "CLIENT" && name != "SELECT" && name != "READONLY":
		c.settle(ordinal)
	}
	return nil
}

// settle notes that the connection leads to a server with data. ordinal is of the first command that shows it.
func (c *checked) settle(ordinal int64) {
	c.sender.settled, c.sender.command = true, nil
	c.sender.plain.Store(ordinal)
	if c.sentinel != nil {
		c.commands.only = func(name []byte, ordinal int64) {
			if bytes.EqualFold(name, []byte("ROLE")) {
				c.sentinel.mayNotBeEmpty(ordinal)
			}
		}
	}
}

// sentinel is what is known of a connection that may lead to one.
type sentinel struct {
	mu       sync.Mutex // guards these
	yes      bool
	begin    int64         // ordinal of the first command that only sentinels get
	expected []expectation // of the commands from there on that have no reply yet
	roles    [16]int64     // ordinals, plus one, of the last commands ROLE
	next     int           // of roles
	last     string        // command
	master   string        // the name of the group

	// of the reader
	reading  bool   // replies are collected
	rest     bool   // this one is not: its beginning was passed on before
	early    int64  // replies to come of commands before begin
	message  []byte // that is being collected
	ready    []byte // what Read returns next
	end      error  // what it returns then
	confirms int    // of the command that is expected next
	passed   int    // messages since a subscription may have begun
}

// expectation is which reply a command has.
type expectation uint8

const (
	anyReply           expectation = iota
	confirmSubscribe               // a push for each channel
	confirmUnsubscribe             // a push for each channel
	pongReply                      // to the PING that the library sends after it
	masterReply                    // an address
	listReply                      // a list of sentinels
)

func (s *sentinel) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.yes
}

// before returns how many of so many commands have replies that are not collected.
func (s *sentinel) before(sent int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.yes {
		return min(sent, s.begin)
	}
	return sent
}

// mayNotBeEmpty notes that the library takes the first element of a reply without a look whether there is one.
func (s *sentinel) mayNotBeEmpty(ordinal int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[s.next%len(s.roles)] = ordinal + 1
	s.next++
}

func (s *sentinel) mustNotBeEmpty(ordinal int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.roles {
		if r == ordinal+1 {
			return true
		}
	}
	return false
}

// expect notes a command to a sentinel.
func (s *sentinel) expect(name string, args []value, ordinal int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.yes {
		s.yes, s.begin = true, ordinal
	}
	e := anyReply
	switch {
	case name == "SUBSCRIBE", name == "UNSUBSCRIBE":
		if len(args) != 1+len(sentinelChannels) {
			return errMismatch
		}
		for i, channel := range sentinelChannels {
			if string(args[i+1].text) != channel {
				return errMismatch
			}
		}
		if e = confirmSubscribe; name == "UNSUBSCRIBE" {
			e = confirmUnsubscribe
		}
	case name == "PING" && s.last == "UNSUBSCRIBE":
		e = pongReply
	case name == "SENTINEL" && len(args) == 3:
		s.master = string(args[2].text)
		switch string(bytes.ToUpper(args[1].text)) {
		case "GET-MASTER-ADDR-BY-NAME":
			e = masterReply
		case "SENTINELS":
			e = listReply
		}
	}
	s.expected, s.last = append(s.expected, e), name
	return nil
}

// readSentinel is Read of a connection to a sentinel.
func (c *checked) readSentinel(b []byte) (int, error) {
	for s := c.sentinel; ; {
		switch {
		case len(s.ready) > 0:
			n := copy(b, s.ready)
			s.ready = s.ready[n:]
			return n, nil
		case c.broken != nil:
			return 0, c.broken
		case s.end != nil:
			return 0, s.end
		}
		n, err := c.Conn.Read(b)
		if n == 0 {
			return n, err
		}
		if bad := c.collect(b[:n], err); bad != nil {
			return 0, c.fail(bad)
		}
	}
}

// startCollecting begins to collect replies. One that was passed on in part goes on to be.
func (c *checked) startCollecting() {
	s := c.sentinel
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading, s.rest, s.early = true, !c.replies.between(), s.begin-c.replies.messages
	c.replies.subscribed = !s.rest
}

// collect takes bytes that were read, and the error that came with them.
func (c *checked) collect(b []byte, end error) error {
	s := c.sentinel
	for s.end = end; len(b) > 0; {
		before := c.replies.messages
		n, err := c.replies.step(b, true)
		if err != nil {
			return err
		}
		if s.rest {
			s.ready = append(s.ready, b[:n]...)
		} else if s.message = append(s.message, b[:n]...); len(s.message) > longestOfSentinel {
			return errLength
		}
		b = b[n:]
		switch {
		case !c.replies.between():
		case s.rest:
			s.rest, c.replies.subscribed = false, true
			if s.early -= c.replies.messages - before; s.early < 0 {
				return errExtra
			}
		default:
			if err := s.judge(); err != nil {
				return err
			}
			s.message = s.message[:0]
		}
	}
	return nil
}

// judge compares a whole reply with the command that it belongs to, and passes it on.
func (s *sentinel) judge() error {
	v, err := tree(s.message)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.kind == '>' {
		return s.pushed(v)
	}
	if s.early > 0 {
		s.early--
		s.pass(v.raw)
		return nil
	}
	if len(s.expected) == 0 || s.early < 0 {
		return errExtra
	}
	broken := v.kind == '-'
	switch s.expected[0] {
	case confirmSubscribe:
		if !broken || s.confirms > 0 || string(v.text) == "QUEUED" {
			return errMismatch
		}
	case confirmUnsubscribe:
		if !broken || s.confirms > 0 || isPong(v) {
			return errMismatch
		}
	case pongReply:
		if !isPong(v) {
			return errMismatch
		}
	case masterReply:
		if (v.kind == '*' || v.kind == '~') && !v.null && len(v.list) < 2 {
			return errEmpty
		}
	case listReply:
		if v.kind == '*' || v.kind == '~' {
			v.raw = learn(v)
		}
	}
	s.done()
	s.pass(v.raw)
	return nil
}

// done notes that the command that was expected next has its reply.
func (s *sentinel) done() { s.expected, s.confirms = s.expected[1:], 0 }

func (s *sentinel) pass(raw []byte) { s.ready = append(s.ready, raw...) }

// isPong reports whether the library takes an answer for that to the PING after UNSUBSCRIBE.
func isPong(v value) bool {
	if v.kind == '-' {
		return bytes.HasPrefix(v.text, []byte("LOADING")) || bytes.HasPrefix(v.text, []byte("BUSY")) || bytes.Contains(v.text, []byte("'ping'"))
	}
	return v.kind == '+' && string(v.text) == "PONG"
}

// pushed passes on the pushes that the library makes something of: confirmations in their order, and messages about the master.
func (s *sentinel) pushed(v value) error {
	if len(v.list) == 0 {
		return nil
	}
	kind := string(v.list[0].text)
	if kind == "message" {
		return s.published(v)
	}
	if !bytes.HasSuffix(v.list[0].text, []byte("subscribe")) {
		return nil
	}
	want, e := "", anyReply
	if s.early == 0 && len(s.expected) > 0 {
		switch e = s.expected[0]; e {
		case confirmSubscribe:
			want = "subscribe"
		case confirmUnsubscribe:
			want = "unsubscribe"
		}
	}
	if kind != want || len(v.list) != 3 || string(v.list[1].text) != sentinelChannels[s.confirms] {
		return errPush
	}
	if s.confirms++; s.confirms == len(sentinelChannels) {
		if s.done(); e == confirmUnsubscribe {
			s.passed = 0
		}
	}
	s.pass(v.raw)
	return nil
}

// published passes on a message if it says that the master of the group is another one, or was started anew. Other sentinels are
// learned from the lists of them.
func (s *sentinel) published(v value) error {
	if len(v.list) != 3 {
		return errMessage
	}
	words, min := bytes.Split(v.list[2].text, []byte(" ")), 0
	switch string(v.list[1].text) {
	case "+switch-master": // mymaster 10.0.0.1 6379 10.0.0.2 6379
		if min = 5; string(words[0]) != s.master {
			return nil
		}
	case "+reboot": // master mymaster 10.0.0.1 6379
		if min = 4; string(words[0]) != "master" || len(words) > 1 && string(words[1]) != s.master {
			return nil
		}
	default:
		return nil
	}
	if len(words) < min {
		return errMessage
	}
	if s.passed++; s.passed > mostMessages {
		return errFlood
	}
	s.pass(v.raw)
	return nil
}

// learned are the addresses of sentinels that the library knows.
var learned struct {
	mu    sync.Mutex
	known map[string]bool
}

// learn returns a list of sentinels without those that are one too many, and without what is no sentinel.
func learn(list value) []byte {
	learned.mu.Lock()
	defer learned.mu.Unlock()
	var kept []byte
	n := 0
	for _, one := range list.list {
		var ip, port string
		for i := 0; i+1 < len(one.list); i += 2 {
			switch string(one.list[i].text) {
			case "ip":
				ip = string(one.list[i+1].text)
			case "port":
				port = string(one.list[i+1].text)
			}
		}
		address := net.JoinHostPort(ip, port)
		if ip == "" || port == "" || len(address) > longestAddress {
			continue
		}
		if !learned.known[address] {
			if len(learned.known) == mostSentinels {
				continue
			}
			if learned.known == nil {
				learned.known = make(map[string]bool)
			}
			learned.known[address] = true
		}
		kept, n = append(kept, one.raw...), n+1
	}
	return append(fmt.Appendf(nil, "*%d\r\n", n), kept...)
}

// value is a message as a tree.
type value struct {
	kind byte
	text []byte
	list []value
	null bool
	raw  []byte
}

// tree returns a message whose framing was checked. It has no attributes and no pushes inside.
func tree(raw []byte) (value, error) {
	v, rest, err := branch(raw)
	if err == nil && len(rest) > 0 {
		err = errFraming
	}
	return v, err
}

func branch(b []byte) (v value, rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return v, nil, errFraming
	}
	v.kind = line[0]
	n := 0
	switch v.kind {
	case '|':
		return v, nil, errPlace
	case '$', '=', '!', '*', '~', '%', '>':
		if n, err = strconv.Atoi(string(line[1:])); err != nil {
			return v, nil, errFraming
		}
		v.null = n < 0
	default:
		v.text = line[1:]
	}
	switch v.kind {
	case '$', '=', '!':
		if n >= 0 {
			if len(rest) < n+2 {
				return v, nil, errFraming
			}
			v.text, rest = rest[:n], rest[n+2:]
		}
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range max(n, 0) {
			var one value
			if one, rest, err = branch(rest); err != nil {
				return v, nil, err
			}
			v.list = append(v.list, one)
		}
	}
	v.raw = b[:len(b)-len(rest)]
	return v, rest, nil
}
