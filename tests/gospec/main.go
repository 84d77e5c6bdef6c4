// Command gospec reads OCI documents as runc does, Go's encoding/json into the types of runtime-spec, and prints what it
// read, marshalled again. A line on stdin is a kind (spec, process or resources), a tab and a document; the line on
// stdout is that document as read, or "error", a tab and why it was refused. The first line names the version of
// runtime-spec.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// empty is what runc decodes into: loadSpec, exec --process, update --resources.
func empty(kind string) (any, error) {
	switch kind {
	case "spec":
		return &specs.Spec{}, nil
	case "process":
		return &specs.Process{}, nil
	case "resources":
		return &specs.LinuxResources{}, nil
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

func read(line []byte) ([]byte, error) {
	kind, document, found := bytes.Cut(line, []byte("\t"))
	if !found {
		return nil, fmt.Errorf("no tab")
	}
	value, err := empty(string(kind))
	if err != nil {
		return nil, err
	}
	if err := json.NewDecoder(bytes.NewReader(document)).Decode(value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintln(out, specs.Version)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			text, refused := read(bytes.TrimSuffix(line, []byte("\n")))
			if refused != nil {
				text = []byte("error\t" + strings.ReplaceAll(refused.Error(), "\n", " "))
			}
			out.Write(append(text, '\n'))
		}
		if err != nil {
			return
		}
	}
}
