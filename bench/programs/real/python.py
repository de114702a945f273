"""The program of the workload "python"."""


class Account:
    def __init__(self, name):
        self.name, self.balance = name, 0

    def add(self, amount):
        self.balance += amount
        return self


def primes(limit):
    sieve = [True] * limit
    for i in range(2, int(limit ** 0.5) + 1):
        if sieve[i]:
            sieve[i * i::i] = [False] * len(range(i * i, limit, i))
    return [i for i in range(2, limit) if sieve[i]]


def words(path):
    counts = {}
    with open(path) as f:
        for word in f.read().split():
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:10]


def pi(digits):
    q, r, t, k, n, l, out = 1, 0, 1, 1, 3, 3, []
    while len(out) < digits:
        if 4 * q + r - t < n * t:
            out.append(str(n))
            q, r, n = q * 10, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, l = q * k, (2 * q + r) * l, t * l, k + 1, (q * (7 * k + 2) + r * l) // (t * l), l + 2
    return "".join(out)


accounts = [Account("n%d" % i) for i in range(100)]
for i in range(60000):
    accounts[i * 7 % 100].add(i % 13)
print(sum(a.balance for a in accounts), len(primes(200000)), pi(150))
print(words("/tmp/part"), sum(1 / (i * i) for i in range(1, 100000)))
