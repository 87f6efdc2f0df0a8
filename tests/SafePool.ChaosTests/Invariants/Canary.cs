using System.Globalization;

namespace SafePool.ChaosTests.Invariants;

/// <summary>Measures how late this machine is, at the same time as the pool is measured: on the thread pool, and on a thread of its own.</summary>
/// <remarks>
/// <para>
/// A rent has its budget and 250 ms. On a machine that is shared with others a timer, a thread of the pool or a thread of one's own may come later than that by itself;
/// what the canary saw of it while the rent lasted is granted on top, so that a noisy neighbour raises no alarm. What it saw in all is printed with every run.
/// </para>
/// <para>
/// Twice what it saw, because a beat is one wait and one hop to a thread, and the end of a rent is two: the timer's, and that of the caller who goes on. Where the thread pool is far later
/// than threads, this process itself blocks threads of the pool: Npgsql does so when it sends a cancel request, also for the tokens of commands.
/// </para>
/// <para>Looked up only afterwards: lateness is known when it is over, which may be later than the end of the rent that suffered from it.</para>
/// </remarks>
internal sealed class Canary : IAsyncDisposable
{
    private static readonly TimeSpan _beat = TimeSpan.FromMilliseconds(10);

    // Below this a beat is on time.
    private static readonly TimeSpan _usual = TimeSpan.FromMilliseconds(3);

    private readonly Lock _gate = new();
    private readonly List<Lateness> _ofTimers = [];
    private readonly List<Lateness> _ofThreads = [];
    private readonly ManualResetEventSlim _end = new();
    private readonly CancellationTokenSource _ending = new();
    private readonly Task _beating;
    private TimeSpan _worstOfTimers;
    private TimeSpan _worstOfThreads;

    public Canary()
    {
        var thread = Task.Factory.StartNew(BeatOnThread, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        _beating = Task.WhenAll(thread, Task.Run(BeatOnTimersAsync));
    }

    /// <summary>What is granted for how late things were between two timestamps, in all: several delays may add up in one rent.</summary>
    public TimeSpan NoiseBetween(long from, long to)
    {
        lock (_gate)
        {
            return 2 * Max(Sum(_ofTimers, from, to), Sum(_ofThreads, from, to));
        }
    }

    /// <summary>Forgets what nobody will ask for any more.</summary>
    public void ForgetBefore(long timestamp)
    {
        lock (_gate)
        {
            _ofTimers.RemoveAll(late => late.Until < timestamp);
            _ofThreads.RemoveAll(late => late.Until < timestamp);
        }
    }

    /// <summary>The latest that beats ever were.</summary>
    public override string ToString()
    {
        lock (_gate)
        {
            return string.Create(
                CultureInfo.InvariantCulture, $"thread pool late by {_worstOfTimers.TotalMilliseconds:0} ms, threads by {_worstOfThreads.TotalMilliseconds:0} ms, at worst");
        }
    }

    public async ValueTask DisposeAsync()
    {
        _end.Set();
        await _ending.CancelAsync();
        await _beating;
        _ending.Dispose();
        _end.Dispose();
    }

    private static TimeSpan Sum(List<Lateness> seen, long from, long to)
    {
        var sum = TimeSpan.Zero;
        foreach (var late in seen)
        {
            sum += late.Until >= from && late.From <= to ? late.By : TimeSpan.Zero;
        }

        return sum;
    }

    private static TimeSpan Max(TimeSpan left, TimeSpan right) => left > right ? left : right;

    private void BeatOnThread()
    {
        for (var from = TimeProvider.System.GetTimestamp(); !_end.Wait(_beat);)
        {
            from = Note(_ofThreads, ref _worstOfThreads, from);
        }
    }

    private async Task BeatOnTimersAsync()
    {
        for (var from = TimeProvider.System.GetTimestamp(); !_ending.IsCancellationRequested;)
        {
            await Task.Delay(_beat, TimeProvider.System, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            from = Note(_ofTimers, ref _worstOfTimers, from);
        }
    }

    private long Note(List<Lateness> seen, ref TimeSpan worst, long from)
    {
        var now = TimeProvider.System.GetTimestamp();
        var by = TimeProvider.System.GetElapsedTime(from, now) - _beat;
        if (by > _usual)
        {
            lock (_gate)
            {
                seen.Add(new Lateness(from, now, by));
                worst = Max(worst, by);
            }
        }

        return now;
    }

    private readonly record struct Lateness(long From, long Until, TimeSpan By);
}
