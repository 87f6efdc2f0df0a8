using System.Globalization;
using SafePool.ChaosTests.Load;
using SafePool.TestKit;

namespace SafePool.ChaosTests.Invariants;

/// <summary>What must be true after an episode, once everything has healed.</summary>
internal sealed class Checks(Landscape landscape, Journal journal)
{
    // One by one: commands on a network that swallows everything end after some 4 s; a return has 2 s, and a quarantine ends with its connection.
    private static readonly TimeSpan _quiet = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan _settled = TimeSpan.FromSeconds(15);

    // Beside MaxSize the control connection, for a moment.
    private const int Control = 1;

    // For a moment, with the first connection after a clear: it asks what kind of pooler there is.
    private const int Survey = 1;

    // A leak of one object in each request is past this after some 120,000 requests, a soak makes more; a leaked connection at once.
    private const long MemoryLeeway = 3 << 20;

    private long? _memory;

    /// <summary>Under load: some rent succeeds again. How long that took is told.</summary>
    public async Task<TimeSpan> ServesAgainAsync(Round round)
    {
        var from = TimeProvider.System.GetTimestamp();
        await CheckAsync("the pool serves again", () => Eventually.True(
            async () =>
            {
                await using var lease = await round.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(5) }, CancellationToken.None);
                await Question.AskAsync(new Session(lease), round.Resets, CancellationToken.None);
                return true;
            },
            "a rent succeeds again",
            _settled));
        return TimeProvider.System.GetElapsedTime(from);
    }

    /// <summary>Stops the load and checks everything. The gate stays closed.</summary>
    public async Task QuietAsync(Round round)
    {
        round.Gate.Close();
        await CheckAsync("every request ends", () => Eventually.True(() => !round.Busy.Any(), "no worker is at work", _quiet), () => round.Busy);
        journal.Judge();
        await CheckAsync("lost leases are found", () => Eventually.True(() => AreFound(round), "each is reported as lost", _settled), () => [$"{round.Lost} lost, {round.Found} found", .. round.Losses]);
        await CheckAsync("gauges go back to zero", () => Outstanding.NoneAsync(round.Pool, _settled));
        await CheckAsync("commands end with their leases", () => Eventually.True(() => round.Stragglers.Running == 0, "no command is left", _settled));
        await CheckAsync("permits are conserved", () => RollCall.CallAsync(round));
        await CheckAsync(
            "opened, closed, idle and the proxy's sockets agree",
            () => Eventually.True(() => Agree(round), "they agree", _settled),
            () => [Sockets(round)]);
        if (landscape.Proxy.PeakConnections > round.MaxSize + Control + (landscape.Middleman is null ? 0 : Survey))
        {
            journal.Violate(
                $"{landscape.Proxy.PeakConnections} sockets were open at once, for a pool of {round.MaxSize}: {string.Join("; ", landscape.Proxy.ConnectionsAtPeak)}");
        }

        landscape.Proxy.ForgetPeaks();
    }

    /// <summary>The round is over: every worker comes to its end.</summary>
    public async Task EndsAsync(Round round)
    {
        await CheckAsync("every worker ends", () => round.EndAsync().WaitAsync(_quiet, TimeProvider.System), () => round.Busy);
        journal.Judge();
    }

    /// <summary>The pool is disposed: nothing of it is left.</summary>
    public async Task GoneAsync(Round round)
    {
        await CheckAsync("a disposed pool gets its leases back", () => Eventually.True(
            () => round.Pool.GetSnapshot() is { Leased: 0, Waiting: 0, Opening: 0, Quarantined: 0, Idle: 0 }, "all counts are zero", _settled));
        await CheckAsync(
            "a disposed pool leaves no socket",
            () => Eventually.True(() => landscape.Proxy.OpenConnections == 0, "all sockets are closed", _settled),
            () => [$"{landscape.Proxy.OpenConnections} sockets"]);
        if (landscape.Middleman is null)
        {
            await CheckAsync(
                "a disposed pool leaves no session",
                () => Eventually.True(async () => (await landscape.SessionsAsync()).Length == 0, "all sessions have ended", _settled));
        }

        landscape.Proxy.ForgetPeaks();
    }

    /// <summary>The heap, once everything that can go has gone: what waits for a timer or a socket may keep some for a while. The first time only measures.</summary>
    public async Task<string> MemoryFlatAsync()
    {
        var memory = Memory();
        var first = _memory ??= memory;
        await CheckAsync(
            "the heap is flat",
            () => Eventually.True(() => (memory = Memory()) <= first + MemoryLeeway, "it is", _settled),
            () => [$"from {first:N0} to {memory:N0} bytes in {journal.Requests:N0} requests"]);
        return string.Create(CultureInfo.InvariantCulture, $"{memory / 1024:N0} KiB, at first {first / 1024:N0}, large objects {LargeObjects() / 1024:N0}");
    }

    /// <summary>Without large objects: those are buffers in array pools, which come and go, and no connection, lease or waiter is one.</summary>
    private static long Memory()
    {
        for (var generation = 0; generation < 2; generation++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        return GC.GetTotalMemory(forceFullCollection: true) - LargeObjects();
    }

    private static long LargeObjects()
    {
        const int Generation = 3;
        var large = GC.GetGCMemoryInfo(GCKind.FullBlocking).GenerationInfo[Generation];
        return large.SizeAfterBytes - large.FragmentationAfterBytes;
    }

    private bool Agree(Round round)
    {
        var now = round.Pool.GetSnapshot();
        var open = landscape.Proxy.OpenConnections;
        return now is { Leased: 0, Waiting: 0, Opening: 0, Quarantined: 0, Circuit: CircuitState.Closed }
            && now.EffectiveMaxSize == now.MaxSize
            && now.TotalOpened - now.TotalClosed == now.Idle
            && open == now.Idle;
    }

    private static bool AreFound(Round round)
    {
        if (round.Lost > 0)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        return round.Found == round.Lost;
    }

    private string Sockets(Round round)
    {
        var now = round.Pool.GetSnapshot();
        return $"{landscape.Proxy.OpenConnections} sockets, {now.Idle} idle, at most {now.EffectiveMaxSize}, circuit {now.Circuit}, {now.TotalOpened} opened, {now.TotalClosed} closed";
    }

    private async Task CheckAsync(string what, Func<Task> check, Func<IEnumerable<object>>? evidence = null)
    {
        try
        {
            await check();
        }
#pragma warning disable CA1031 // Whatever it is, it becomes a violation and goes into the report.
        catch (Exception error)
#pragma warning restore CA1031
        {
            journal.Violate($"not true that {what}: {string.Join("; ", evidence?.Invoke() ?? [])} {error}");
        }
    }
}
