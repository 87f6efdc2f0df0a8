using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Model;

/// <summary>Drives a pool through a history and holds what it does against the simplest thing that could be true.</summary>
/// <remarks>
/// The model knows the leases that are out and the requests that wait, in order of arrival. It says which requests may be answered, and
/// how; the pool says which were. Opens are held by the source until the history lets them end, so nothing happens between the moves.
/// </remarks>
internal sealed class PoolModel : IAsyncDisposable
{
    private const int MaxSize = 3;
    private const int MaxWaiters = 5;
    private const int MaxConcurrentOpens = 2;
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _brief = TimeSpan.FromMilliseconds(700);

    private readonly ScriptedPool _pool = ScriptedPool.Create(options =>
    {
        options.MaxSize = MaxSize;
        options.MaxWaiters = MaxWaiters;
        options.MaxConcurrentOpens = MaxConcurrentOpens;
        options.AcquireTimeout = _patience;
        options.ConnectTimeout = TimeSpan.FromMinutes(10);
        options.IdleTimeout = Timeout.InfiniteTimeSpan;
        options.MaxLifetime = TimeSpan.FromSeconds(20);
        options.ProbeAfterQuiet = Timeout.InfiniteTimeSpan;
        options.Breaker.Enabled = false;
    });

    private readonly List<Lease> _leases = [];
    private readonly List<Request> _queue = [];
    private int _failuresDue;
    private bool _drained;

    public PoolModel() => _pool.Source.HoldOpens = true;

    public async Task PlayAsync(IEnumerable<Move> history)
    {
        foreach (var move in history)
        {
            await ApplyAsync(move);
            await SettleAsync($"after {move}");
        }

        await EndAsync();
    }

    public ValueTask DisposeAsync() => _pool.DisposeAsync();

    private async Task ApplyAsync(Move move)
    {
        switch (move.Kind)
        {
            case MoveKind.Rent:
                Enqueue(_patience);
                break;
            case MoveKind.RentBriefly:
                Enqueue(_brief);
                break;
            case MoveKind.TryRent when !_drained:
                var idle = _pool.Snapshot.Idle;
                Check(_pool.Pool.TryRent(out var lease) ? idle > 0 : lease == default, "TryRent succeeds only on idle");
                if (lease != default)
                {
                    _leases.Add(lease);
                }

                break;
            case MoveKind.Return or MoveKind.ReturnTwice or MoveKind.Break or MoveKind.CloseFails when _leases.Count > 0:
                await ReturnAsync(move);
                break;
            case MoveKind.Cancel when _queue.Count > 0:
                _queue[move.Pick % _queue.Count].Cancel();
                break;
            case MoveKind.OpenSucceeds when _pool.Source.PendingOpens > 0:
                _pool.Source.CompleteNextOpen();
                break;
            case MoveKind.OpenFails when _pool.Source.PendingOpens > 0:
                _failuresDue++;
                _pool.Source.FailNextOpen(OpenErrors.ForGood());
                break;
            case MoveKind.LoseIdle:
                _pool.Source.LoseAtRest();
                break;
            case MoveKind.Clear:
                _pool.Pool.Clear();
                break;
            case MoveKind.PassTime:
                _pool.Clock.Advance(TimeSpan.FromMilliseconds(100 * (1 + (move.Pick % 20))));
                break;
            case MoveKind.Drain when move.Pick % 4 == 0:
                _drained = true;
                await _pool.Pool.DrainAsync(TimeSpan.Zero);
                break;
        }
    }

    private async Task ReturnAsync(Move move)
    {
        var lease = _leases[move.Pick % _leases.Count];
        _leases.Remove(lease);
        if (move.Kind == MoveKind.Break)
        {
            _pool.Source.Break(lease.Connection);
        }
        else if (move.Kind == MoveKind.CloseFails)
        {
            _pool.Source.FailNextCloseWith(new NpgsqlException("scripted"));
        }

        if (move.Pick % 2 == 0)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }

        if (move.Kind == MoveKind.ReturnTwice)
        {
            lease.Dispose();
            await lease.DisposeAsync();
        }

        Assert.Throws<ObjectDisposedException>(() => lease.Connection);
    }

    private void Enqueue(TimeSpan budget)
        => _queue.Add(new Request(_pool.Pool, budget, _pool.Clock.GetTimestamp() + budget.Ticks, mayBeRejected: _queue.Count >= MaxWaiters));

    /// <summary>Waits until nothing moves, then holds what happened against the model.</summary>
    private async Task SettleAsync(string when)
    {
        // The thread pool is quick: spinning sees it before the first pause of Eventually would be over.
        if (!SpinWait.SpinUntil(IsStill, TimeSpan.FromMilliseconds(20)))
        {
            await Eventually.True(IsStill, $"everything stands still {when}");
        }

        // First come, first served: whoever was served or learnt of a failed open was ahead of all who still wait.
        var firstWaiting = _queue.FindIndex(request => !request.Task.IsCompleted);
        for (var i = 0; i < _queue.Count; i++)
        {
            Account(_queue[i], isBehindAWaiter: firstWaiting >= 0 && i > firstWaiting, when);
        }

        foreach (var answered in _queue.Where(request => request.Task.IsCompleted).ToArray())
        {
            _queue.Remove(answered);
            answered.Dispose();
        }

        CheckCounts(when);

        // An open that nobody waits for, because the breaker wants to know, may begin and end at any time; what it brings is at rest before it is counted.
        await Eventually.True(() => _pool.Source.AtRest <= _pool.Snapshot.Idle, $"nothing is at rest that the pool does not count {when}");
    }

    private void Account(Request request, bool isBehindAWaiter, string when)
    {
        var isDue = _pool.Clock.GetTimestamp() >= request.Deadline;
        switch (request.Task)
        {
            case { IsCompleted: false }:
                Check(!isDue && !request.IsCancelled && !_drained, $"nobody waits beyond budget, token and drain {when}");
                break;
            case { IsCompletedSuccessfully: true }:
                Check(!isBehindAWaiter, $"nobody is served before an earlier one {when}");
                _leases.Add(request.Task.Result);
                break;
            case { IsCanceled: true }:
                Check(request.IsCancelled, $"only the caller cancels {when}");
                break;
            case { Exception.InnerException: PoolExhaustedException or ConnectTimeoutException }:
                Check(isDue, $"nobody runs out of time early {when}");
                break;
            case { Exception.InnerException: PoolRejectedException }:
                Check(request.MayBeRejected, $"nobody is rejected while the queue has room {when}");
                break;
            case { Exception.InnerException: PoolClosedException }:
                Check(_drained, $"closed only after a drain {when}");
                break;
            case { Exception.InnerException: NpgsqlException }:
                Check(_failuresDue-- > 0 && !isBehindAWaiter, $"one failed open fails the first waiter and no other {when}");
                break;
            default:
                throw new InvalidOperationException($"Unexpected outcome {when}", request.Task.Exception);
        }
    }

    private void CheckCounts(string when)
    {
        var now = _pool.Snapshot;
        Check(now.Leased == _leases.Count, $"leased ({now.Leased}) are those that the model has ({_leases.Count}) {when}");
        Check(now.Waiting == _queue.Count, $"waiting ({now.Waiting}) are those that the model has ({_queue.Count}) {when}");
        Check(now.Quarantined == 0, $"nothing is quarantined {when}");
        Check(now.Leased + now.Idle + now.Opening <= MaxSize, $"the places add up {when}");
        Check(_pool.Source.PeakAlive <= MaxSize, $"never more than {MaxSize} connections {when}");
        Check(_pool.Source.PeakConcurrentOpens <= MaxConcurrentOpens, $"never more than {MaxConcurrentOpens} opens at once {when}");
        var canOpen = now.Leased + now.Idle + now.Opening < MaxSize && now.Opening < MaxConcurrentOpens;
        Check(now.Waiting <= now.Opening || !canOpen, $"a waiter for whom there is room has an open under way {when}");
        Check(now.Waiting == 0 || now.Idle == 0, $"nobody waits while a connection is idle {when}");
    }

    private bool IsStill()
    {
        var now = _pool.Snapshot;
        var unanswered = _queue.Count(request => !request.Task.IsCompleted);
        var granted = _queue.Count(request => request.Task.IsCompletedSuccessfully);
        return now.Opening == _pool.Source.PendingOpens
            && now.Waiting == unanswered
            && now.Leased == _leases.Count + granted;
    }

    /// <summary>Gives everything back: then every gauge is at zero and every request was answered.</summary>
    private async Task EndAsync()
    {
        _pool.Source.HoldOpens = false;
        while (_queue.Count > 0 || _leases.Count > 0 || _pool.Source.PendingOpens > 0)
        {
            foreach (var lease in _leases)
            {
                await lease.DisposeAsync();
            }

            _leases.Clear();
            while (_pool.Source.PendingOpens > 0)
            {
                _pool.Source.CompleteNextOpen();
            }

            await SettleAsync("at the end");
        }

        var now = _pool.Snapshot;
        Check(now is { Leased: 0, Opening: 0, Waiting: 0, Quarantined: 0 }, $"all gauges are back at zero: {now}");
    }

    private static void Check(bool holds, string what)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"Broken: {what}.");
        }
    }

    private sealed class Request : IDisposable
    {
        private readonly CancellationTokenSource _source = new();

        public Request(ConnectionPool pool, TimeSpan budget, long deadline, bool mayBeRejected)
        {
            Deadline = deadline;
            MayBeRejected = mayBeRejected;
            Task = pool.RentAsync(new RentOptions { AcquireTimeout = budget }, _source.Token).AsTask();
        }

        public Task<Lease> Task { get; }

        public long Deadline { get; }

        public bool MayBeRejected { get; }

        public bool IsCancelled => _source.IsCancellationRequested;

        public void Cancel() => _source.Cancel();

        public void Dispose() => _source.Dispose();
    }
}
