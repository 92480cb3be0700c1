// Command load keeps some clients of a key-value store busy for a while, each with one request at a time, and
// prints what they saw as one line of JSON. One program for etcd and for stores that speak Redis, so that both are
// driven and timed in the same way.
//
// It is built by bench/against_etcd.py, in GOPATH mode, with etcd's own client as Debian packages it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// An operation sends one request for a key and waits for its answer. An answer that is not what a healthy store
// gives that holds all keys is an error. Values are known by their length: redis-benchmark writes others.
type operation func(key string) error

// A store makes the operations of a number of clients, over connections that stand before it returns. Whatever has
// no answer when ctx ends fails.
type store func(ctx context.Context, o options) ([]operation, error)

var stores = map[string]store{"etcd": etcdClients, "redis": redisClients}

type options struct {
	address     string
	command     string
	value       string
	clients     int
	connections int // of all clients together; those of Redis have one each
}

const patience = 30 * time.Second // for the last answers, after the last request

func main() {
	var o options
	speak := flag.String("speak", "etcd", "protocol of the store: etcd or redis")
	flag.StringVar(&o.address, "address", "", "host:port of the store")
	flag.StringVar(&o.command, "command", "get", "put, get, or get-serializable (etcd only)")
	flag.StringVar(&o.value, "value", "xxx", "what is put; a get must find a value as long")
	flag.IntVar(&o.clients, "clients", 50, "requests under way at a time")
	flag.IntVar(&o.connections, "connections", 50, "connections to etcd that the clients share")
	keys := flag.Int("keys", 100_000, "how many keys the requests are spread over")
	duration := flag.Duration("duration", 5*time.Second, "for how long requests are sent")
	flag.Parse()
	if err := measure(*speak, o, *keys, *duration); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(speak string, o options, keys int, duration time.Duration) error {
	connect, known := stores[speak]
	if !known {
		return fmt.Errorf("no store speaks %q", speak)
	}
	ctx, cancel := context.WithTimeout(context.Background(), duration+patience)
	defer cancel()
	operations, err := connect(ctx, o)
	if err != nil {
		return err
	}
	r := run(operations, names(keys), duration)
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	if r.Failed > 0 {
		return fmt.Errorf("%d operations failed, one of them so: %s", r.Failed, r.Failure)
	}
	return nil
}

// names are those that redis-benchmark uses, made before the clock runs.
func names(count int) []string {
	keys := make([]string, count)
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%012d", i)
	}
	return keys
}
