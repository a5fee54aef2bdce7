# Fields, associative arrays, regular expressions, sprintf, sorting, user functions.
function hash(s,   i, h) {
    h = 5381
    for (i = 1; i <= length(s); i++)
        h = (h * 33 + ord[substr(s, i, 1)]) % 4294967296
    return h
}
BEGIN { for (i = 1; i < 256; i++) ord[sprintf("%c", i)] = i }
{
    count[$2]++; total[$2] += $1
    if (match($0, /id=([0-9]+) host([0-9]+)/, m)) { host[m[2]] += m[1]; seen[m[1] % 1000]++ }
    line = $0
    changes += gsub(/[aeiou]+/, "<&>", line)
    width += length(line)
    if (NR % 16 == 0) sum = (sum + hash($6)) % 1000003
    key = $2 SUBSEP $3
    pair[key] = sprintf("%05d:%s", pair[key] + 1, "")
    if ($NF ~ /^(error|warn)/) bad++
    n = split($6, ch, "")
    for (i = 1; i <= n; i++) digit[ch[i]]++
}
END {
    n = asorti(count, order)
    for (i = 1; i <= n; i++) printf "%s %d %.3f\n", order[i], count[order[i]], total[order[i]] / count[order[i]]
    n = asorti(host, order, "@ind_num_asc")
    for (i = 1; i <= n; i++) printf "%s=%d ", order[i], host[order[i]]
    n = asort(digit, sorted)
    print ""
    for (i = 1; i <= n; i++) printf "%d ", sorted[i]
    print "", changes, width, sum, bad, length(pair), length(seen), toupper(substr(line, 1, 20))
}
