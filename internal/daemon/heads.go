package daemon

import "bytes"

// heads reads along with an HTTP/1 connection and spoils the heads of requests that two servers could understand differently, so
// that net/http refuses them: those with both Content-Length and Transfer-Encoding (RFC 9112 section 6.1), of which net/http
// drops the length before any handler sees it, and those with a folded line (section 5.2), which it joins. Spoiled, a line has
// a NUL in its name: 400, and the connection is closed.
//
// It knows where heads begin only as long as it need not read chunks. After a chunked body, and after a request of HTTP/1.0,
// which has its own idea of Transfer-Encoding, the connection must be closed: paced sees to that.
type heads struct {
	at     place
	name   [18]byte // of the header at hand, in lower case; one byte more than the longest that matters
	length int      // of the whole name, however long
	body   uint64   // bytes still to come
	seen   struct{ contentLength, transferEncoding bool }
}

type place uint8

const (
	betweenRequests place = iota
	inName
	inLine   // that does not matter any more
	inLength // the value of Content-Length
	inBody
	nowhere // nothing is looked at any more
)

// read looks at what was read from the connection, and may change it in place.
func (h *heads) read(p []byte) {
	for i := 0; i < len(p); {
		switch h.at {
		case nowhere:
			return
		case inBody:
			n := min(h.body, uint64(len(p)-i))
			i += int(n) //nolint:gosec // at most len(p)
			if h.body -= n; h.body == 0 {
				h.at = betweenRequests
			}
			continue
		case betweenRequests:
			if p[i] != '\r' && p[i] != '\n' { // empty lines may stand here; where net/http thinks otherwise, it hangs up
				h.at = inLine
			}
		case inLine:
			end := bytes.IndexByte(p[i:], '\n')
			if end < 0 {
				return
			}
			i += end
			h.at, h.length = inName, 0
		case inLength:
			h.digit(p[i])
		case inName:
			if h.letter(p[i]) {
				p[i] = 0
			}
		}
		i++
	}
}

// letter takes a byte of a line that may be a header's name, and tells whether it is one to spoil.
func (h *heads) letter(b byte) (spoil bool) {
	switch {
	case b == '\n':
		if h.length == 0 || h.length == 1 && h.name[0] == '\r' {
			h.end()
		}
		h.length = 0
		return false
	case b == ':':
		h.at = inLine
		switch {
		case h.is("content-length"):
			h.at, h.body, h.seen.contentLength = inLength, 0, true
		case h.is("transfer-encoding"):
			h.seen.transferEncoding = true
		default:
			return false
		}
		return h.seen.contentLength && h.seen.transferEncoding
	case h.length == 0 && (b == ' ' || b == '\t'):
		spoil = true
	case 'A' <= b && b <= 'Z':
		b |= 0x20
	}
	if h.length == 0 && b != 'c' && b != 't' && b != '\r' {
		h.at = inLine // most lines are none of ours
		return spoil
	}
	if h.length < len(h.name) {
		h.name[h.length] = b
	}
	h.length++
	return spoil
}

func (h *heads) is(name string) bool {
	return h.length == len(name) && string(h.name[:h.length]) == name
}

// digit takes a byte of a length. What is no number net/http refuses; what is too large for one it refuses as well.
func (h *heads) digit(b byte) {
	switch {
	case b == '\n':
		h.at, h.length = inName, 0
	case '0' <= b && b <= '9':
		h.body = h.body*10 + uint64(b-'0')
	}
}

// end is the end of a head.
func (h *heads) end() {
	switch {
	case h.seen.transferEncoding:
		h.at = nowhere
	case h.body > 0:
		h.at = inBody
	default:
		h.at = betweenRequests
	}
	h.seen.contentLength, h.seen.transferEncoding = false, false
}
