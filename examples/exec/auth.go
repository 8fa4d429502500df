// Admits clients with a token in the URL: go build auth.go && fws-server -f 'exec-guard:./auth' broadcast
package main

import (
	"bufio"
	"encoding/json"
	"net/url"
	"os"
)

func main() {
	users := map[string]string{"token-of-ann": "ann", "token-of-bob": "bob"}
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	out.Encode(map[string]any{"hello": 1, "events": []string{"connect"}})
	for line, err := in.ReadBytes('\n'); err == nil; line, err = in.ReadBytes('\n') {
		var event struct {
			Event, Url string
			Id         int
		}
		if json.Unmarshal(line, &event) != nil || event.Event != "connect" {
			continue
		}
		verdict := map[string]any{"id": event.Id, "refuse": 401}
		if target, err := url.Parse(event.Url); err == nil && users[target.Query().Get("token")] != "" {
			verdict = map[string]any{"id": event.Id, "identity": users[target.Query().Get("token")]}
		}
		out.Encode(verdict)
	}
}
