package main

import (
	"math/rand"
	"sort"
	"sync"
	"time"
)

// A report is what all clients saw together. A latency is the time from before a request to after its answer.
type report struct {
	Operations int     `json:"operations"` // answered, and as expected
	Failed     int     `json:"failed"`
	Failure    string  `json:"failure"` // one of them
	Seconds    float64 `json:"seconds"` // until the last answer
	P50Ms      float64 `json:"p50_ms"`
	P99Ms      float64 `json:"p99_ms"`
}

// What one client saw. Each has its own and they meet only at the end, so that counting makes no client wait.
type tally struct {
	latencies []time.Duration
	failed    int
	failure   error
}

// run lets every client repeat its operation, on a key drawn anew each time, until the duration is over.
func run(operations []operation, keys []string, duration time.Duration) report {
	tallies := make([]tally, len(operations))
	var ended sync.WaitGroup
	begin := time.Now()
	for i := range operations {
		ended.Add(1)
		go func(client int) {
			defer ended.Done()
			tallies[client] = repeat(operations[client], keys, rand.New(rand.NewSource(int64(client))), begin.Add(duration))
		}(i)
	}
	ended.Wait()
	return summarise(tallies, time.Since(begin))
}

func repeat(operate operation, keys []string, random *rand.Rand, end time.Time) tally {
	var t tally
	for before := time.Now(); before.Before(end); {
		err := operate(keys[random.Intn(len(keys))])
		after := time.Now()
		if err == nil {
			t.latencies = append(t.latencies, after.Sub(before))
		} else {
			t.failed++
			t.failure = err
		}
		before = after
	}
	return t
}

func summarise(tallies []tally, elapsed time.Duration) report {
	r := report{Seconds: elapsed.Seconds()}
	var latencies []time.Duration
	for _, t := range tallies {
		latencies = append(latencies, t.latencies...)
		r.Failed += t.failed
		if t.failure != nil {
			r.Failure = t.failure.Error()
		}
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	r.Operations = len(latencies)
	r.P50Ms = quantile(latencies, 0.50)
	r.P99Ms = quantile(latencies, 0.99)
	return r
}

// quantile of latencies in rising order, in milliseconds.
func quantile(rising []time.Duration, share float64) float64 {
	if len(rising) == 0 {
		return 0
	}
	return rising[int(share*float64(len(rising)-1))].Seconds() * 1000
}
