package session

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"cloakroom/secret"
)

// press makes content small before it is sealed; sealed, nothing can.
type press struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// What stands before pressed content.
const (
	loose   = 0 // it is as it was: pressing would not have made it smaller
	pressed = 1
)

const maxContent = 1 << 20 // far more than the claims and tokens of a session may be

func newPress() (*press, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(64<<10),
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderDictRaw(dictionaryID, []byte(dictionary)))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxContent),
		zstd.WithDecoderDictRaw(dictionaryID, []byte(dictionary)))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &press{encoder, decoder}, nil
}

func (p *press) press(plain []byte) []byte {
	out := p.encoder.EncodeAll(plain, []byte{pressed})
	if len(out) >= len(plain)+1 {
		return slices.Concat([]byte{loose}, plain)
	}
	return out
}

// release reverses press. The content is not to be changed any more.
func (p *press) release(content []byte) (string, error) {
	if len(content) == 0 {
		return "", errContent
	}
	switch content[0] {
	case loose:
		return owned(content[1:]), nil
	case pressed:
		plain, err := p.decoder.DecodeAll(content[1:], nil)
		if err != nil {
			return "", errContent
		}
		return owned(plain), nil
	}
	return "", errContent
}

// maxParts is how many parts the compact form of a token has at most (an encrypted one, RFC 7516 section 3.1).
const maxParts = 5

// token writes the parts of a token in the compact form with their base64url undone, which makes them a quarter smaller
// and leaves something to compress. Any other token stays as it is.
func (w *writer) token(t secret.Text) {
	parts := strings.Split(t.Reveal(), ".")
	if t == "" || len(parts) > maxParts {
		w.number(0)
		w.text(t.Reveal())
		return
	}
	raw := make([][]byte, len(parts))
	for i, part := range parts {
		var err error
		// Only what comes back the same: the decoder passes over line ends, and a token's bytes are what is signed.
		if raw[i], err = compact.DecodeString(part); err != nil || compact.EncodeToString(raw[i]) != part {
			w.number(0)
			w.text(t.Reveal())
			return
		}
	}
	w.number(uint64(len(raw)))
	for _, part := range raw {
		w.bytes(part)
	}
}

var compact = base64.RawURLEncoding.Strict()

func (r *reader) token() secret.Text {
	n := r.number()
	if n == 0 {
		return secret.Text(r.text())
	}
	if n > maxParts {
		r.fail()
		return ""
	}
	var parts [maxParts]string
	size := int(n) - 1
	for i := range n {
		parts[i] = r.text()
		size += compact.EncodedLen(len(parts[i]))
	}
	out := make([]byte, 0, size)
	for i, part := range parts[:n] {
		if i > 0 {
			out = append(out, '.')
		}
		out = compact.AppendEncode(out, unsafe.Slice(unsafe.StringData(part), len(part)))
	}
	return secret.Text(owned(out))
}

// owned makes a text of bytes that nobody else has, without a copy: sessions are read more often than anything else.
func owned(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
