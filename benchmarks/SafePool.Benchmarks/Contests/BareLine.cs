using System.Threading.Tasks.Sources;
using Microsoft.Extensions.ObjectPool;
using Npgsql;

namespace SafePool.Benchmarks.Contests;

/// <summary>The least that a fair line over Npgsql's connections can cost: a lock, a queue of re-used waiters, and a hand-over to the first of them on the thread pool.</summary>
/// <remarks>It has no timeout, ignores tokens, knows no lease and no failure. What it is better at than SafePool is what those cost.</remarks>
internal sealed class BareLine(NpgsqlDataSource source, int connections)
{
    // An open that finds nothing at rest gives up instead of connecting.
    private static readonly CancellationToken _restingOnly = new(canceled: true);

    private readonly Lock _gate = new();
    private readonly Queue<Waiter> _waiting = new();
    private readonly ObjectPool<Waiter> _waiters = ObjectPool.Create<Waiter>();
    private int _idle;

    /// <summary>Opens them all.</summary>
    public async Task FillAsync()
    {
        var opened = new NpgsqlConnection[connections];
        for (var i = 0; i < connections; i++)
        {
            opened[i] = await source.OpenConnectionAsync();
        }

        foreach (var connection in opened)
        {
            Return(connection);
        }
    }

    public ValueTask<NpgsqlConnection> RentAsync()
    {
        lock (_gate)
        {
            if (_idle == 0)
            {
                var waiter = _waiters.Get();
                waiter.Line = this;
                _waiting.Enqueue(waiter);
                return waiter.Task;
            }

            _idle--;
        }

        return new ValueTask<NpgsqlConnection>(Take());
    }

    public void Return(NpgsqlConnection connection)
    {
        connection.Close();
        Waiter? first;
        lock (_gate)
        {
            if (!_waiting.TryDequeue(out first))
            {
                _idle++;
            }
        }

        if (first is not null)
        {
            ThreadPool.UnsafeQueueUserWorkItem(first, preferLocal: true);
        }
    }

    private NpgsqlConnection Take()
    {
        var connection = source.CreateConnection();
        var opening = connection.OpenAsync(_restingOnly);
        return opening.IsCompletedSuccessfully ? connection : throw new InvalidOperationException("A connection was lost.", opening.Exception);
    }

    private sealed class Waiter : IValueTaskSource<NpgsqlConnection>, IThreadPoolWorkItem
    {
        private ManualResetValueTaskSourceCore<NpgsqlConnection> _result;

        public BareLine Line { get; set; } = null!;

        public ValueTask<NpgsqlConnection> Task => new(this, _result.Version);

        public void Execute() => _result.SetResult(Line.Take());

        public NpgsqlConnection GetResult(short token)
        {
            var connection = _result.GetResult(token);
            _result.Reset();
            Line._waiters.Return(this);
            return connection;
        }

        public ValueTaskSourceStatus GetStatus(short token) => _result.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
            => _result.OnCompleted(continuation, state, token, flags);
    }
}
