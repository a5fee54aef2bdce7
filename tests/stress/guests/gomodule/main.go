// SPDX-License-Identifier: MIT
package main

import (
	"fmt"

	"example.org/gomodule/words"
)

func main() {
	for _, pair := range words.Count("the cat and the dog and the bird") {
		fmt.Println(pair.Word, pair.Count)
	}
}
