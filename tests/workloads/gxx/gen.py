# Writes a C++ program that uses much of the standard library; argv: scale seed.
import random
import sys

scale = float(sys.argv[1])
random.seed(int(sys.argv[2]))
print("""#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>
template <class T, int N> struct Matrix {
    T at[N][N] = {};
    Matrix operator*(const Matrix &o) const { Matrix r; for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) for (int k = 0; k < N; k++) r.at[i][j] += at[i][k] * o.at[k][j]; return r; }
};""")
n = max(2, int(12 * scale))
for i in range(n):
    a, b, c = (random.randrange(2, 50) for _ in range(3))
    print(f"""struct Shape{i} {{ virtual ~Shape{i}() = default; virtual long area(long x) const {{ return x * {a}; }} }};
struct Round{i} : Shape{i} {{ long area(long x) const override {{ if (x == {c}) throw std::runtime_error("round{i}"); return x + {b}; }} }};
static long work{i}(long seed) {{
    std::map<std::string, std::vector<long>> m; std::unordered_map<long, std::string> u; std::set<long> s;
    for (long k = 0; k < {10 + a}; k++) {{ std::ostringstream o; o << "key" << (k * {b}) % {c + 3} << '-' << seed % 7; m[o.str()].push_back(k); u[k % {c}] += o.str(); s.insert(k * seed % {a + 60}); }}
    Matrix<long, {2 + i % 5}> x; for (auto &row : x.at) for (auto &v : row) v = seed++ % {c}; x = x * x;
    std::unique_ptr<Shape{i}> p(seed % 2 ? static_cast<Shape{i} *>(new Round{i}) : new Shape{i}); long r = 0;
    try {{ for (long k = 0; k < {c + 2}; k++) r += p->area(k); }} catch (const std::exception &e) {{ r += std::string(e.what()).size(); }}
    std::regex re("key([0-9]+)-[{i % 7}-9]"); for (auto &[k, v] : m) {{ std::smatch w; if (std::regex_match(k, w, re)) r += std::stol(w[1]) + std::accumulate(v.begin(), v.end(), 0L); }}
    std::variant<long, std::string, double> v; switch (seed % 3) {{ case 0: v = r; break; case 1: v = u.begin()->second; break; default: v = r * 0.5; }}
    r += std::visit([](auto &&q) -> long {{ if constexpr (std::is_same_v<std::decay_t<decltype(q)>, std::string>) return q.size(); else return (long)q; }}, v);
    std::vector<long> z(s.begin(), s.end()); std::sort(z.begin(), z.end(), [](long l, long h) {{ return l % {a} < h % {a} || (l % {a} == h % {a} && l < h); }});
    return r + z.front() + x.at[0][1];
}}""")
print("int main() { long t = 0; for (long i = 0; i < 20; i++) {")
for i in range(n):
    print(f"    t += work{i}(i + {i});")
print('} std::cout << t << "\\n"; }')
