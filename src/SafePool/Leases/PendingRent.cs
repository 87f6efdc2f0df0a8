using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;
using Microsoft.Extensions.ObjectPool;

namespace SafePool.Leases;

/// <summary>A rent that is under way, for its caller to await. Re-used, so that waiting allocates nothing in the long run.</summary>
/// <remarks>
/// Like every <see cref="ValueTask{TResult}"/> it is to be awaited once. What the compiler would pool by itself is given to the next caller also when that is broken; here who awaits twice is told so
/// and harms nobody, and who blocks on it (rule SFP0007) waits as long as it takes.
/// </remarks>
internal sealed class PendingRent : RefusalNote, IValueTaskSource<Lease>
{
    private readonly ObjectPool<PendingRent> _home;
    private readonly Action _end;
    private ManualResetValueTaskSourceCore<Lease> _result;
    private ConfiguredValueTaskAwaitable<Lease>.ConfiguredValueTaskAwaiter _renting;
    private int _isTaken;

    public PendingRent(ObjectPool<PendingRent> home)
    {
        _home = home;
        _end = End;
    }

    /// <summary>Goes on to the caller with what a rent brings; a refusal that was noted here is thrown then.</summary>
    public ValueTask<Lease> Follow(ValueTask<Lease> renting)
    {
        if (!renting.IsCompleted)
        {
            _isTaken = 0;
            _renting = renting.ConfigureAwait(false).GetAwaiter();
            var task = new ValueTask<Lease>(this, _result.Version);
            _renting.UnsafeOnCompleted(_end);
            return task;
        }

        try
        {
            var lease = renting.GetAwaiter().GetResult();
            return TakeRefusal() is { } refused ? ValueTask.FromException<Lease>(refused) : new ValueTask<Lease>(lease);
        }
        catch (Exception error)
        {
            return ValueTask.FromException<Lease>(error);
        }
        finally
        {
            _home.Return(this);
        }
    }

    public Lease GetResult(short token)
    {
        if (_result.GetStatus(token) == ValueTaskSourceStatus.Pending)
        {
            Block(token);
        }

        if (Interlocked.Exchange(ref _isTaken, 1) == 1)
        {
            throw new InvalidOperationException("A ValueTask may be awaited once.");
        }

        try
        {
            return _result.GetResult(token);
        }
        finally
        {
            _result.Reset();
            _home.Return(this);
        }
    }

    public ValueTaskSourceStatus GetStatus(short token) => _result.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
        => _result.OnCompleted(continuation, state, token, flags);

    private void End()
    {
        Lease lease;
        Exception? error;
        try
        {
            lease = _renting.GetResult();
            error = TakeRefusal();
        }
        catch (Exception thrown)
        {
            (lease, error) = (default, thrown);
        }

        _renting = default;
        if (error is null)
        {
            _result.SetResult(lease);
        }
        else
        {
            _result.SetException(error);
        }
    }

    private PoolException? TakeRefusal()
    {
        var error = Refusal?.ToException();
        Refusal = null;
        return error;
    }

    private void Block(short token)
    {
        using var ended = new ManualResetEventSlim();
        _result.OnCompleted(static ended => ((ManualResetEventSlim)ended!).Set(), ended, token, ValueTaskSourceOnCompletedFlags.None);
        ended.Wait();
    }

    /// <summary>Makes those of one pool.</summary>
    public sealed class Policy : PooledObjectPolicy<PendingRent>
    {
        private ObjectPool<PendingRent>? _home;

        public static ObjectPool<PendingRent> CreatePool(int retained)
        {
            var policy = new Policy();
            return policy._home = new DefaultObjectPool<PendingRent>(policy, retained);
        }

        public override PendingRent Create() => new(_home!);

        public override bool Return(PendingRent obj) => true;
    }
}
