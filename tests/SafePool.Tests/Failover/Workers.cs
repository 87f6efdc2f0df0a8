using System.Collections.Concurrent;
using Npgsql;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Failover;

/// <summary>Workers that use a pool without a pause and note what their query brings, until they are disposed. What fails is done again.</summary>
internal sealed class Workers : IAsyncDisposable
{
    private readonly CancellationTokenSource _over = new();
    private readonly ConcurrentQueue<int> _answers = [];
    private readonly ConnectionPool _pool;
    private readonly string _query;
    private readonly Task _work;

    /// <param name="pool">The pool.</param>
    /// <param name="workers">How many: as many as the pool has connections, or more.</param>
    /// <param name="query">Brings a number.</param>
    /// <param name="dropIn">They take connections instead of leases, and close them.</param>
    public Workers(ConnectionPool pool, int workers, string query, bool dropIn = false)
    {
        (_pool, _query) = (pool, query);
        _work = Task.WhenAll(Enumerable.Range(0, workers).Select(_ => Task.Run(() => WorkAsync(dropIn))));
    }

    /// <summary>Waits for so many more answers.</summary>
    public async Task AnswersAsync(int count)
    {
        var wanted = _answers.Count + count;
        await TestKit.Eventually.True(() => _answers.Count >= wanted, "the workers have worked", TimeSpan.FromMinutes(1));
    }

    /// <summary>What the last so many queries have brought.</summary>
    public IReadOnlyList<int> LastAnswers(int count) => [.. _answers.ToArray().TakeLast(count)];

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        await _work;
        _over.Dispose();
    }

    private async Task WorkAsync(bool dropIn)
    {
        while (!_over.IsCancellationRequested)
        {
            try
            {
                _answers.Enqueue(dropIn ? await AskConnectionAsync() : await AskLeaseAsync());
            }
            catch (Exception error) when (error is NpgsqlException or PoolException)
            {
                // An outage is a part of the test.
            }
        }
    }

    private async Task<int> AskLeaseAsync()
    {
        await using var lease = await _pool.RentAsync();
        return await lease.AskAsync<int>(_query);
    }

    private async Task<int> AskConnectionAsync()
    {
        await using var connection = await _pool.OpenConnectionAsync();
        return await connection.AskAsync<int>(_query);
    }
}
