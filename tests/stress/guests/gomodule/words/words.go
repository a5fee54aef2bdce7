// Package words counts words.
// SPDX-License-Identifier: MIT
package words

import (
	"sort"
	"strings"
)

// Pair is a word and how often it stands in a text.
type Pair struct {
	Word  string
	Count int
}

// Count gives the words of a text, the most frequent first.
func Count(text string) []Pair {
	counts := map[string]int{}
	for _, word := range strings.Fields(text) {
		counts[word]++
	}
	pairs := make([]Pair, 0, len(counts))
	for word, count := range counts {
		pairs = append(pairs, Pair{word, count})
	}
	sort.Slice(pairs, func(i, j int) bool {
		if pairs[i].Count != pairs[j].Count {
			return pairs[i].Count > pairs[j].Count
		}
		return pairs[i].Word < pairs[j].Word
	})
	return pairs
}
