package main

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/clientv3"
	"google.golang.org/grpc"
)

// etcdClients share the connections evenly. Each connection knows one server alone, so none wanders to another.
func etcdClients(ctx context.Context, o options) ([]operation, error) {
	pool := make([]*clientv3.Client, o.connections)
	for i := range pool {
		connection, err := clientv3.New(clientv3.Config{
			Endpoints:   []string{o.address},
			DialTimeout: 10 * time.Second,
			DialOptions: []grpc.DialOption{grpc.WithBlock()}, // connected now, not at the first request
		})
		if err != nil {
			return nil, fmt.Errorf("connect to etcd at %s: %w", o.address, err)
		}
		pool[i] = connection
	}
	operations := make([]operation, o.clients)
	for i := range operations {
		connection := pool[i%len(pool)]
		switch o.command {
		case "put":
			operations[i] = func(key string) error {
				_, err := connection.Put(ctx, key, o.value)
				return err
			}
		case "get":
			operations[i] = etcdGet(ctx, connection, len(o.value))
		case "get-serializable":
			operations[i] = etcdGet(ctx, connection, len(o.value), clientv3.WithSerializable())
		default:
			return nil, fmt.Errorf("etcd has no command %q here", o.command)
		}
	}
	return operations, nil
}

func etcdGet(ctx context.Context, connection *clientv3.Client, size int, how ...clientv3.OpOption) operation {
	return func(key string) error {
		answer, err := connection.Get(ctx, key, how...)
		if err != nil {
			return err
		}
		if len(answer.Kvs) != 1 || len(answer.Kvs[0].Value) != size {
			return fmt.Errorf("get %s found %v", key, answer.Kvs)
		}
		return nil
	}
}
