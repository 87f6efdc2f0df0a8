using Npgsql;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Load;

/// <summary>A service that does everything with its pool but leak: one worker's random requests.</summary>
internal sealed class MixedLoad(ConnectionPool pool, int seed, CancellationToken end)
{
    // An "HTTP call" or a report of this length is under every threshold of the test.
    private const int LongestHoldMilliseconds = 700;

    private readonly Random _random = new(seed);

    public int Requests { get; private set; }

    public int Cancelled { get; private set; }

    public async Task RunAsync()
    {
        while (!end.IsCancellationRequested)
        {
            try
            {
                await (_random.Next(10) switch
                {
                    0 => CallOutAsync(),
                    1 => StreamAsync(),
                    2 => TransactAsync(),
                    3 => DropInAsync(),
                    4 => ThrowAsync(),
                    5 => LeaveInTheMiddleAsync(),
                    6 => GiveUpAsync(),
                    7 => Task.Factory.StartNew(Block, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default),
                    8 => ReportAsync(),
                    _ => QueryAsync(),
                });
            }
            catch (NotSupportedException)
            {
                // That was ThrowAsync.
            }
            catch (OperationCanceledException)
            {
                Cancelled++;
            }

            Requests++;
        }
    }

    private async Task QueryAsync()
    {
        using var lease = await pool.RentAsync(CancellationToken.None);
        await lease.AskAsync<int>("SELECT 1");
    }

    /// <summary>Slow work in the middle of a lease, which is bad style and no leak.</summary>
    private async Task CallOutAsync()
    {
        await using var lease = await pool.RentAsync(CancellationToken.None);
        await lease.AskAsync<int>("SELECT 1");
        await Task.Delay(TimeSpan.FromMilliseconds(_random.Next(LongestHoldMilliseconds)), TimeProvider.System, CancellationToken.None);
        await lease.AskAsync<int>("SELECT 2");
    }

    /// <summary>Longer than the threshold, and announced.</summary>
    private async Task ReportAsync()
    {
        var options = new RentOptions { ExpectedHold = TimeSpan.FromMinutes(1), Label = "report" };
        await using var lease = await pool.RentAsync(options, CancellationToken.None);
        await lease.DoAsync($"SELECT pg_sleep({_random.Next(3)} * 0.9)");
    }

    private async Task StreamAsync()
    {
        await using var lease = await pool.RentAsync(CancellationToken.None);
        await using var command = lease.CreateCommand("SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i");
        await using var reader = await command.ExecuteReaderAsync(CancellationToken.None);
        while (await reader.ReadAsync(CancellationToken.None))
        {
            _ = reader.GetInt32(0);
        }
    }

    private async Task TransactAsync()
    {
        await using var lease = await pool.RentAsync(CancellationToken.None);
        await using var transaction = await lease.BeginTransactionAsync(cancellationToken: CancellationToken.None);
        await lease.DoAsync("CREATE TEMP TABLE basket (id int) ON COMMIT DROP; INSERT INTO basket SELECT generate_series(1, 10)");
        await Task.Delay(TimeSpan.FromMilliseconds(_random.Next(50)), TimeProvider.System, CancellationToken.None);
        if (_random.Next(2) == 0)
        {
            await transaction.CommitAsync(CancellationToken.None);
        }
    }

    private async Task DropInAsync()
    {
        await using var connection = await pool.OpenConnectionAsync(CancellationToken.None);
        await connection.AskAsync<int>("SELECT 1");
    }

    private async Task ThrowAsync()
    {
        await using var lease = await pool.RentAsync(CancellationToken.None);
        await lease.AskAsync<int>("SELECT 1");
        throw new NotSupportedException();
    }

    private async Task LeaveInTheMiddleAsync()
    {
        await using var lease = await pool.RentAsync(CancellationToken.None);
        await using var command = lease.CreateCommand("SELECT generate_series(1, 100000)");
        var reader = await command.ExecuteReaderAsync(CancellationToken.None);
        await reader.ReadAsync(CancellationToken.None);
    }

    private async Task GiveUpAsync()
    {
        using var budget = new CancellationTokenSource(TimeSpan.FromMilliseconds(_random.Next(1, 30)), TimeProvider.System);
        await using var lease = await pool.RentAsync(budget.Token);
        await using var command = lease.CreateCommand("SELECT pg_sleep(0.02)");
        await command.ExecuteNonQueryAsync(budget.Token);
    }

    // On a thread of its own: two dozen of these on two threads of the pool would starve the others, and their leases would be overdue in earnest.
    private void Block()
    {
        using var lease = pool.Rent();
        lease.Ask<int>("SELECT 1");
    }
}
