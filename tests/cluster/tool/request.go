package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/netproxy/netproxy/plugin/lab"
)

// answerOf is a result with what JSON would leave out.
type answerOf struct {
	lab.Result
	Body  []byte
	Error string
}

// request sends one request of the lab's, which is JSON, and prints the result, which is JSON too.
func request(args []string) error {
	var r lab.Request
	if err := json.Unmarshal([]byte(args[0]), &r); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	res := r.Do(context.Background())
	out := answerOf{Result: res, Body: res.Body}
	if res.Err != nil {
		out.Error = res.Err.Error()
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}
