using SafePool.TestKit;

namespace SafePool.ChaosTests.Faults;

/// <summary>Deals faults of one kind, each once before any comes again, with parameters of its own every time.</summary>
internal sealed class Deck(Random random, Func<Random, Fault>[] kinds)
{
    private readonly Queue<Func<Random, Fault>> _left = [];

    public static Func<Random, Fault>[] Network { get; } =
    [
        random => new Delayed(random.Milliseconds(5, 300)),
        random => new SlowConnects(random.Milliseconds(50, 2000)),
        _ => new Stalled(),
        _ => new BlackHole(),
        _ => new Silent(),
        random => new Refused(BreaksAll: random.Percent(50)),
        random => new CutAtByte((int)random.Milliseconds(1, 100_000).TotalMilliseconds - 1, random.Percent(50)),
        _ => new AllBreak(Politely: false),
        _ => new AllBreak(Politely: true),
        random => new SomeBreak(random.Milliseconds(5, 200), random.Next()),
    ];

    public static Func<Random, Fault>[] Server { get; } =
    [
        random => new Terminated(random.Of(30, 100)),
        random => new StoppedBackends(random.Next(1, 6)),
        _ => new KilledBackend(),
        _ => new StoppedPostmaster(),
        _ => new KilledPostmaster(),
        _ => new Restarted(StopMode.Fast),
        _ => new Restarted(StopMode.Immediate),
        random => new Down(random.Of(StopMode.Fast, StopMode.Immediate)),
        random => new ServerFull(random.Of(0, 50, 100)),
        random => new Moved(BreaksAll: random.Percent(50)),
    ];

    public static Func<Random, Fault>[] Pooler { get; } = [_ => new PausedPooler(), _ => new RestartedPooler()];

    public bool IsEmpty => kinds.Length == 0;

    public Fault Deal()
    {
        if (_left.Count == 0)
        {
            var shuffled = kinds.ToArray();
            random.Shuffle(shuffled);
            foreach (var kind in shuffled)
            {
                _left.Enqueue(kind);
            }
        }

        return _left.Dequeue()(random);
    }
}
