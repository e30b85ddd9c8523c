module heddle.dev/test/lookup

go 1.24
