package config

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml"

	"cloakroom/web"
)

// ReadWords reads the file of public.pages.strings_file: texts by their names.
func ReadWords(file string) (map[string]string, error) {
	source, err := read(file)
	if err != nil {
		return nil, err
	}
	var words map[string]string
	if err := yaml.Unmarshal([]byte(source), &words); err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	if faults := web.CheckWords(words); len(faults) > 0 {
		return nil, errors.New(strings.Join(faults, "; "))
	}
	return words, nil
}
