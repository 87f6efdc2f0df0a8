using System.Globalization;
using SafePool.ChaosTests.Faults;
using SafePool.ChaosTests.Invariants;
using SafePool.ChaosTests.Load;

namespace SafePool.ChaosTests;

/// <summary>Episode after episode, in rounds with a new pool each, until the time is up or something is violated.</summary>
internal sealed class ChaosRun : IAsyncDisposable
{
    private static readonly TimeSpan _roundLength = TimeSpan.FromSeconds(12);

    // Beside the tests, so that a run that takes its process along has left a trace. One for all runs of a process.
    private static readonly string _traceFile = CreateTraceFile();

    private readonly Landscape _landscape;
    private readonly Canary _canary = new();
    private readonly Journal _journal;
    private readonly Checks _checks;
    private readonly Schedule _schedule;
    private readonly Random _random;
    private readonly List<string> _history = [];
    private readonly Action<string> _print;

    public ChaosRun(Landscape landscape, int seed, Action<string> print)
    {
        _landscape = landscape;
        _print = print;
        _journal = new Journal(_canary);
        _checks = new Checks(landscape, _journal);
        _random = new Random(seed);
        _schedule = new Schedule(_random.Next(), landscape.Middleman is not null, Chaos.OnlyFaults);
        Tell($"SAFEPOOL_CHAOS_SEED={seed}, {(landscape.Middleman is null ? "directly" : landscape.Middleman.SharesSessions ? "behind a pooler by transaction" : "behind a pooler by session")}");
    }

    /// <summary>Null when everything held; else the whole story.</summary>
    public async Task<string?> RunAsync(TimeSpan duration)
    {
        var from = TimeProvider.System.GetTimestamp();
        string? failure = null;
        while (failure is null && TimeProvider.System.GetElapsedTime(from) < duration)
        {
            var left = duration - TimeProvider.System.GetElapsedTime(from);
            failure = await RunRoundAsync(left < _roundLength ? left : _roundLength);
        }

        Tell($"{_journal.Requests} requests; {_canary}");
        Tell($"{_journal}");
        return failure;
    }

    public ValueTask DisposeAsync() => _canary.DisposeAsync();

    private static string CreateTraceFile()
    {
        var file = Path.Combine(AppContext.BaseDirectory, "chaos.log");
        File.WriteAllText(file, null);
        return file;
    }

    private async Task<string?> RunRoundAsync(TimeSpan length)
    {
        var round = new Round(_landscape, _journal, _random.Next());
        Tell($"pool: {round.Description}");
        var from = TimeProvider.System.GetTimestamp();
        round.Start();
        do
        {
            await RunEpisodeAsync(round);
        }
        while (!_journal.HasViolations && TimeProvider.System.GetElapsedTime(from) < length);

        var failure = _journal.HasViolations ? Report(round) : null;
        if (failure is not null)
        {
            // Whatever hangs may go on hanging: what happened is in the report.
            await round.Pool.DisposeAsync();
            return failure;
        }

        await EndAsync(round);
        return _journal.HasViolations ? Report(round) : null;
    }

    /// <summary>Closes the pool: after the load, or under it, with patience for leases or without.</summary>
    private async Task EndAsync(Round round)
    {
        var (isUnderLoad, drains) = (_random.Percent(67), _random.Percent(50));
        Tell($"closing{(isUnderLoad ? " under load" : "")}{(drains ? ", after a drain" : "")}");
        round.StopLosing();
        if (isUnderLoad)
        {
            round.Gate.Open();
            await Task.Delay(_random.Milliseconds(20, 500), TimeProvider.System);
            await round.CloseAsync(drains);
            await Task.Delay(_random.Milliseconds(20, 200), TimeProvider.System);
            await _checks.EndsAsync(round);
        }
        else
        {
            await _checks.EndsAsync(round);
            await round.CloseAsync(drains);
        }

        await _checks.GoneAsync(round);
    }

    private async Task RunEpisodeAsync(Round round)
    {
        var episode = _schedule.Next();
        Tell($"{episode}");
        _journal.GrantedToWords = episode.Faults.Any(fault => fault.SilencesSessions) ? KnownFaults.WordsWithASilentServer : TimeSpan.Zero;
        round.Gate.Open();
        await Task.Delay(_random.Milliseconds(20, 500), TimeProvider.System);
        foreach (var fault in episode.Faults)
        {
            await fault.BeginAsync(_landscape);
        }

        await PassAsync(round, episode.Duration);
        foreach (var fault in episode.Faults.Reverse())
        {
            await fault.HealAsync(_landscape);
        }

        var recovery = await _checks.ServesAgainAsync(round);
        await _checks.QuietAsync(round);
        if (_landscape.Middleman?.TakeLastWords() is { } lastWords)
        {
            _journal.Count("the pooler died");
            Tell($"   the pooler died: {lastWords}");
        }

        var memory = await _checks.MemoryFlatAsync();
        Tell(string.Create(CultureInfo.InvariantCulture, $"   healed; served again after {recovery.TotalMilliseconds:0} ms; {_journal.Requests} requests; {memory}"));
    }

    /// <summary>In one episode of three, if that is wanted, the pool is given other sizes meanwhile, and its own again in the end.</summary>
    private async Task PassAsync(Round round, TimeSpan duration)
    {
        if (!Chaos.Resizes || !_random.Percent(33))
        {
            await Task.Delay(duration, TimeProvider.System);
            return;
        }

        var from = TimeProvider.System.GetTimestamp();
        var changes = 0;
        do
        {
            round.Resize(_random);
            changes++;
            await Task.Delay(_random.Milliseconds(1, 200), TimeProvider.System);
        }
        while (TimeProvider.System.GetElapsedTime(from) < duration);

        round.RestoreSize();
        Tell($"   {changes} other sizes meanwhile");
    }

    private string Report(Round round)
        => $"""
            {string.Join(Environment.NewLine, _journal.Violations)}

            What was done, with the seed to do it again:
            {string.Join(Environment.NewLine, _history)}

            Outcomes:
            {_journal}

            The pool now: {round.Pool.GetSnapshot()}
            {round.Pool.DumpFlightRecorder()}
            """;

    private void Tell(string line)
    {
        _history.Add(line);
        _print(line);
        File.AppendAllText(_traceFile, line + Environment.NewLine);
    }
}
