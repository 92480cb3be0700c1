package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"time"
)

// redisClients have a connection each, as clients of Redis have: a connection answers one request after the other.
func redisClients(ctx context.Context, o options) ([]operation, error) {
	header := fmt.Sprintf("$%d\r\n", len(o.value))
	bulk := header + o.value + "\r\n"
	operations := make([]operation, o.clients)
	for i := range operations {
		connection, err := net.DialTimeout("tcp", o.address, 10*time.Second)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", o.address, err)
		}
		if deadline, set := ctx.Deadline(); set {
			if err := connection.SetDeadline(deadline); err != nil {
				return nil, err
			}
		}
		switch o.command {
		case "put":
			operations[i] = redisRequest(connection, "*3\r\n$3\r\nSET\r\n", bulk, "+OK\r\n", len("+OK\r\n"))
		case "get":
			operations[i] = redisRequest(connection, "*2\r\n$3\r\nGET\r\n", "", header, len(bulk))
		default:
			return nil, fmt.Errorf("Redis has no command %q here", o.command)
		}
	}
	return operations, nil
}

// redisRequest sends head, key and tail. The reply must begin as the right one does and be as long.
func redisRequest(connection net.Conn, head, tail, beginning string, size int) operation {
	reader := bufio.NewReader(connection)
	var request, reply []byte
	return func(key string) error {
		request = append(request[:0], head...)
		request = append(request, fmt.Sprintf("$%d\r\n%s\r\n", len(key), key)...)
		request = append(request, tail...)
		if _, err := connection.Write(request); err != nil {
			return err
		}
		var err error
		if reply, err = readReply(reader, reply[:0]); err != nil {
			return err
		}
		if len(reply) != size || !bytes.HasPrefix(reply, []byte(beginning)) {
			return fmt.Errorf("%s was answered %q", key, reply)
		}
		return nil
	}
}

// readReply appends a reply to what it is given: its first line and, if that announces a string, the string.
// A string with a line end in it would be cut there, and is then no right answer, as no value here has one.
func readReply(reader *bufio.Reader, reply []byte) ([]byte, error) {
	line, err := reader.ReadSlice('\n')
	reply = append(reply, line...)
	if err != nil || line[0] != '$' || line[1] == '-' {
		return reply, err
	}
	line, err = reader.ReadSlice('\n')
	return append(reply, line...), err
}
