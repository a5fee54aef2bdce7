module example.org/gomodule

go 1.19
