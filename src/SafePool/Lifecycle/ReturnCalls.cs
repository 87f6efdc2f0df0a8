using SafePool.Driver.Hosts;
using SafePool.Leases;

namespace SafePool.Lifecycle;

/// <summary>What the pool itself waits for while nothing is idle: a place that comes back, with a connection of one host or of any.</summary>
/// <remarks>
/// <para>In a pool that is fully used nothing ever lies idle: without this its connections would be neither moved nor looked at. A lease is not interrupted: whichever comes back first serves.</para>
/// <para>
/// Thread-safety: every member may be called from any thread. The list is replaced as a whole, under the lock. A call is answered once: by a return, whose place is then the caller's, or by the caller himself when he gives up; a
/// return that comes second goes on as if there had been no call.
/// </para>
/// </remarks>
internal sealed class ReturnCalls
{
    /// <summary>What does not come back within this time is not busy but held.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private volatile Call[] _all = [];

    /// <summary>One read.</summary>
    public bool HasAny => _all.Length > 0;

    public IReadOnlyList<Call> All => _all;

    /// <param name="host">Where the connection is to be; null for wherever it is.</param>
    public Call Begin(ServerDataSource? host)
    {
        var call = new Call(this, host);
        lock (_gate)
        {
            _all = [.. _all, call];
        }

        return call;
    }

    private void End(Call call)
    {
        lock (_gate)
        {
            _all = Array.FindAll(_all, other => other != call);
        }
    }

    /// <summary>One that waits. Disposed when it does not any more.</summary>
    internal sealed class Call(ReturnCalls owner, ServerDataSource? host) : IDisposable
    {
        // Not on the thread of the return.
        private readonly TaskCompletionSource<LeaseSlot?> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ServerDataSource? Host { get; } = host;

        /// <summary>The place, held by the caller from then on; null when it was given up.</summary>
        public Task<LeaseSlot?> Answer => _answer.Task;

        /// <summary>True for one.</summary>
        public bool TryAnswer(LeaseSlot? slot) => _answer.TrySetResult(slot);

        public void Dispose() => owner.End(this);
    }
}
