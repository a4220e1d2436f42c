package config

import (
	"slices"
	"strings"
)

// Marks stand, while YAML is parsed, for characters inside { } and [ ] that the parser would take for its own. Each is one
// column wide, as what it stands for is.
const (
	markOpen  = '\uE000' // the braces of an unquoted ${…}
	markClose = '\uE001'
	markColon = '\uE002' // a colon inside a plain word, such as orders:read
	marks     = "\uE000\uE001\uE002"
)

var unmark = strings.NewReplacer(string(markOpen), "{", string(markClose), "}", string(markColon), ":")

// markFlow returns the source with such characters marked, and where an unquoted ${…} stands: YAML reads its braces as a
// map. A colon is part of a word where no blank and no bracket follows it (YAML 1.2.2 section 7.3.3); the parser takes it
// for the end of a key.
func markFlow(source string) (marked string, references []place) {
	s := flowScanner{lines: strings.Split(source, "\n"), block: -1}
	for i := range s.lines {
		s.line(i)
	}
	return strings.Join(s.lines, "\n"), s.found
}

// flowScanner follows as much of YAML as tells flow style from everything else: quotes, comments, block scalars, brackets.
type flowScanner struct {
	lines []string
	found []place
	depth int  // of open brackets
	quote rune // the open quote, 0 outside
	start bool // a value may start here: quotes and brackets mean something
	json  bool // a quote or bracket just closed: a colon here ends a key whatever follows it
	block int  // lines indented deeper than this belong to a block scalar; -1 outside one
}

func (s *flowScanner) line(number int) {
	line := []rune(strings.TrimSuffix(s.lines[number], "\r"))
	indent := len(line) - len([]rune(strings.TrimLeft(string(line), " ")))
	if s.block >= 0 {
		if strings.TrimSpace(string(line)) == "" || indent > s.block {
			return
		}
		s.block = -1
	}
	if s.quote == 0 {
		s.start, s.json = true, false
	}
	for i := 0; i < len(line); i++ {
		c, next := line[i], ' '
		if i+1 < len(line) {
			next = line[i+1]
		}
		blankNext := next == ' ' || next == '\t'
		json := s.json
		s.json = false
		switch {
		case s.quote != 0:
			if c == '\\' && s.quote == '"' {
				i++
			} else if c == s.quote {
				s.quote, s.start, s.json = 0, false, true
			}
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			i = len(line)
		case c == '$' && s.depth > 0 && next == '{':
			if end := slices.Index(line[i:], '}'); end > 0 {
				s.found = append(s.found, place{line: number + 1, column: i + 1})
				line[i+1], line[i+end] = markOpen, markClose
			}
			s.start = false
		case (c == '"' || c == '\'') && s.start:
			s.quote = c
		case (c == '{' || c == '[') && (s.start || s.depth > 0):
			s.depth, s.start = s.depth+1, true
		case (c == '}' || c == ']') && s.depth > 0:
			s.depth, s.start, s.json = s.depth-1, false, true
		case c == ',' && s.depth > 0:
			s.start = true
		case c == ':' && s.depth > 0 && !json && !blankNext && !strings.ContainsRune(",[]{}", next):
			line[i], s.start = markColon, false
		case c == ':' && (blankNext || s.depth > 0), (c == '-' || c == '?') && blankNext:
			s.start = true
		case (c == '|' || c == '>') && s.start && s.depth == 0:
			s.block = indent
			return
		case c == ' ' || c == '\t':
			s.json = json
		default:
			s.start = false
		}
	}
	s.lines[number] = string(line)
}
