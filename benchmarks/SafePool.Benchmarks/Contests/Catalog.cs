using Npgsql;

namespace SafePool.Benchmarks.Contests;

/// <summary>All contests, by name.</summary>
internal static class Catalog
{
    private const int Connections = 4;
    private const int ManyPlaces = 1_000;
    private const int LongQueue = 10_000;

    public static IReadOnlyDictionary<string, Func<Arena, Task<Contest>>> All { get; } = new Dictionary<string, Func<Arena, Task<Contest>>>
    {
        ["uncontended"] = arena => Against("uncontended", arena, workers: 1, Hold.Nothing),
        ["contended-2"] = arena => Against("contended-2", arena, workers: 2, Hold.Yield),
        ["contended-8"] = arena => QueueUpAsync("contended-8", arena, workers: 8, Hold.Yield),
        ["contended-32"] = arena => QueueUpAsync("contended-32", arena, workers: 32, Hold.Yield),
        ["contended-200"] = arena => QueueUpAsync("contended-200", arena, workers: 200, Hold.Yield),
        ["contended-32-nothing"] = arena => QueueUpAsync("contended-32-nothing", arena, workers: 32, Hold.Nothing),
        ["contended-32-spin"] = arena => Against("contended-32-spin", arena, workers: 32, Hold.Spin),
        ["waiting"] = WaitingAsync,
        ["select1-1"] = arena => AskAsync("select1-1", arena, workers: 1, Hold.Select1),
        ["select1-32"] = arena => AskAsync("select1-32", arena, workers: 32, Hold.Select1),
        ["select1-200"] = arena => AskAsync("select1-200", arena, workers: 200, Hold.Select1),
        ["transaction-32"] = arena => AskAsync("transaction-32", arena, workers: 32, Hold.Transaction),
        ["settings-select1"] = arena => SettingsAsync("settings-select1", arena, Hold.Select1),
        ["settings-transaction"] = arena => SettingsAsync("settings-transaction", arena, Hold.Transaction),
        ["places"] = PlacesAsync,
        ["queue"] = QueueAsync,
    };

    private static Task<Contest> Against(string name, Arena arena, int workers, Hold hold)
        => Task.FromResult(new Contest(
            arena, name, workers, [Contender.Raw(arena.ConnectionString, Connections, hold), Contender.SafePool(arena.ConnectionString, Connections, hold)]));

    /// <summary>More workers than connections: beside the two the least that waiting can cost, and, where each gives its thread up now and then, what it costs not to wait.</summary>
    private static async Task<Contest> QueueUpAsync(string name, Arena arena, int workers, Hold hold)
    {
        List<Contender> contenders =
        [
            Contender.Raw(arena.ConnectionString, Connections, hold),
            Contender.SafePool(arena.ConnectionString, Connections, hold),
            await Contender.BareLineAsync(arena.ConnectionString, Connections, hold),
        ];
        if (hold == Hold.Yield)
        {
            contenders.Add(Contender.SafePool(arena.ConnectionString, workers, hold, "SafePool, a connection for each"));
        }

        return new Contest(arena, name, workers, contenders);
    }

    /// <summary>What a rent allocates that waits, compared with the same that does not.</summary>
    private static Task<Contest> WaitingAsync(Arena arena)
        => Task.FromResult(new Contest(arena, "waiting", 32,
        [
            Contender.SafePool(arena.ConnectionString, 32, Hold.Yield, "SafePool, a connection for each"),
            Contender.SafePool(arena.ConnectionString, Connections, Hold.Yield),
        ]));

    /// <summary>The same settings of the driver on each side: no reset when a connection comes back, statements prepared after a few uses.</summary>
    private static async Task<Contest> AskAsync(string name, Arena arena, int workers, Hold hold)
    {
        var text = new NpgsqlConnectionStringBuilder(arena.ConnectionString) { MaxAutoPrepare = 20, NoResetOnClose = true }.ConnectionString;
        List<Contender> contenders =
        [
            Contender.Raw(text, Connections, hold),
            Contender.SafePool(text, Connections, hold, configure: options => options.Reset = SessionReset.Rollback),
        ];
        if (workers >= Connections)
        {
            contenders.Add(await Contender.OwnedAsync(text, Connections, hold));
        }

        return new Contest(arena, name, workers, contenders) { MeasuresLatency = true, Rounds = 30, Turn = TimeSpan.FromMilliseconds(300) };
    }

    /// <summary>What settings of the driver give, with the same pool: see docs/tuning.md.</summary>
    private static Task<Contest> SettingsAsync(string name, Arena arena, Hold hold)
    {
        return Task.FromResult(new Contest(arena, name, 32,
        [
            With("default", _ => { }),
            With("Max Auto Prepare=20", text => text.MaxAutoPrepare = 20),
            With("Reset = Rollback", _ => { }, SessionReset.Rollback),
            With("both", text => text.MaxAutoPrepare = 20, SessionReset.Rollback),
            With("Reset = Strict", _ => { }, SessionReset.Strict),
            With("buffers of 32 KiB", text => (text.ReadBufferSize, text.WriteBufferSize) = (32 * 1024, 32 * 1024)),
        ])
        {
            MeasuresLatency = true, Rounds = 20, Turn = TimeSpan.FromMilliseconds(300),
        });

        Contender With(string what, Action<NpgsqlConnectionStringBuilder> change, SessionReset reset = SessionReset.Full)
        {
            var text = new NpgsqlConnectionStringBuilder(arena.ConnectionString);
            change(text);
            return Contender.SafePool(text.ConnectionString, Connections, hold, what, options => options.Reset = reset);
        }
    }

    /// <summary>Whether a rent costs more in a larger pool. All of its connections are open; raw Npgsql tells how much of it is the driver's, which hands them out in turn.</summary>
    private static async Task<Contest> PlacesAsync(Arena arena)
    {
        var few = Contender.SafePool(arena.ConnectionString, Connections, Hold.Nothing, "4 places", options => options.MinSize = Connections);
        var many = Contender.SafePool(arena.ConnectionString, ManyPlaces, Hold.Nothing, "1,000 places", options => options.MinSize = ManyPlaces);
        await many.WarmUpAsync();
        return new Contest(arena, "places", 1,
        [
            few,
            many,
            await Contender.RawFilledAsync(arena.ConnectionString, Connections, Hold.Nothing, "raw Npgsql, 4 connections"),
            await Contender.RawFilledAsync(arena.ConnectionString, ManyPlaces, Hold.Nothing, "raw Npgsql, 1,000 connections"),
        ]);
    }

    /// <summary>Whether a rent costs more when the queue is longer. Each goes through the whole of it.</summary>
    private static async Task<Contest> QueueAsync(Arena arena)
        => new(arena, "queue", 0,
        [
            Contender.SafePool(arena.ConnectionString, 1, Hold.Nothing, "queue of 1").With(workers: 2),
            Contender.SafePool(arena.ConnectionString, 1, Hold.Nothing, "queue of 100").With(workers: 101),
            Contender.SafePool(arena.ConnectionString, 1, Hold.Nothing, "queue of 10,000").With(LongQueue + 1),
            Contender.Raw(arena.ConnectionString, 1, Hold.Nothing, "raw Npgsql, queue of 1").With(workers: 2),
            Contender.Raw(arena.ConnectionString, 1, Hold.Nothing, "raw Npgsql, queue of 10,000").With(LongQueue + 1),
            (await Contender.BareLineAsync(arena.ConnectionString, 1, Hold.Nothing, "a bare line, queue of 1")).With(workers: 2),
            (await Contender.BareLineAsync(arena.ConnectionString, 1, Hold.Nothing, "a bare line, queue of 10,000")).With(LongQueue + 1),
        ])
        {
            Rounds = 10, Turn = TimeSpan.FromSeconds(1),
        };
}
