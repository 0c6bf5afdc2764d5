#!/bin/sh
# A job such as particle physics has many of: events are made at random, their particles are clustered
# into jets (anti-kt, the plain way that looks at all pairs), masses go into a histogram, and the events
# into a compressed file. One core, floating point and a little memory.
need python3 python3
[ "$QUICK" = 1 ] && events=20 || events=400
program python3 "$(python3 -c 'import platform; print(platform.python_version())')"
echo "size $events events of 60 particles"
enter_work
cat >job.py <<'PYTHON'
import gzip, json, math, random, sys, time

def event(rng, count):
    axes = [(rng.uniform(-2, 2), rng.uniform(-math.pi, math.pi)) for _ in range(3)]
    particles = []
    for i in range(count):
        eta, phi = axes[i % 3]
        particles.append((rng.expovariate(0.2), rng.gauss(eta, 0.3), rng.gauss(phi, 0.3)))
    return particles

def distance(a, b):
    dphi = abs(a[2] - b[2]) % (2 * math.pi)
    dphi = min(dphi, 2 * math.pi - dphi)
    return (a[1] - b[1]) ** 2 + dphi ** 2

def merge(a, b):
    pt = a[0] + b[0]
    return (pt, (a[0] * a[1] + b[0] * b[1]) / pt, (a[0] * a[2] + b[0] * b[2]) / pt)

# Source: Cacciari, Salam, Soyez, "The anti-kt jet clustering algorithm", 2008.
def cluster(particles, radius):
    particles, jets = list(particles), []
    while particles:
        best, pair = min(p[0] ** -2 for p in particles), None
        for i, a in enumerate(particles):
            for j in range(i):
                b = particles[j]
                d = min(a[0] ** -2, b[0] ** -2) * distance(a, b) / radius ** 2
                if d < best:
                    best, pair = d, (i, j)
        if pair:
            i, j = pair
            new = merge(particles[i], particles[j])
            del particles[i], particles[j]
            particles.append(new)
        else:
            first = min(range(len(particles)), key=lambda k: particles[k][0] ** -2)
            jets.append(particles.pop(first))
    return jets

rng, count = random.Random(1), int(sys.argv[1])
histogram, start = [0] * 50, time.perf_counter()
with gzip.open("events.gz", "wt") as out:
    for _ in range(count):
        jets = sorted(cluster(event(rng, 60), 0.4), reverse=True)
        if len(jets) > 1:
            mass = math.sqrt(2 * jets[0][0] * jets[1][0] * abs(
                math.cosh(jets[0][1] - jets[1][1]) - math.cos(jets[0][2] - jets[1][2])))
            histogram[min(int(mass / 10), 49)] += 1
        json.dump(jets, out)
print("figure rate %.4f" % (count / (time.perf_counter() - start)))
PYTHON
python3 job.py "$events"
