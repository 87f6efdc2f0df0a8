// Background services, consumers, timers.
using Dapper;
using Microsoft.Extensions.Hosting;

internal sealed class Outbox(IConnectionPool pool) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            await using var lease = await pool.RentAsync(stoppingToken);
            await lease.Connection.ExecuteAsync("DELETE FROM outbox WHERE sent");
        }
    }
}

internal sealed class HoldingOutbox(IConnectionPool pool) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await using var lease = await pool.RentAsync(stoppingToken);
        while (!stoppingToken.IsCancellationRequested)
        {
            await lease.Connection.ExecuteAsync("DELETE FROM outbox WHERE sent");
            await Task.Delay(1000, stoppingToken); // expect: SFP0005
        }
    }
}

internal sealed class FireAndForget(IConnectionPool pool)
{
    public void Enqueue()
    {
        using var lease = pool.Rent();
        _ = Task.Run(() => lease.Connection.Execute("SELECT 1")); // expect: SFP0002
    }

    public void EnqueueRight() => _ = Task.Run(async () =>
    {
        await using var lease = await pool.RentAsync();
        await lease.Connection.ExecuteAsync("SELECT 1");
    });
}

internal sealed class HotRetry(IConnectionPool pool)
{
    public async Task<Lease> RentAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await pool.RentAsync(cancellationToken);
            }
            catch (PoolExhaustedException) // expect: SFP0009
            {
            }
        }
    }
}

internal sealed class PatientRetry(IConnectionPool pool)
{
    public async Task<Lease> RentAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await pool.RentAsync(cancellationToken);
            }
            catch (PoolExhaustedException error)
            {
                await Task.Delay(error.RetryAfter ?? TimeSpan.FromSeconds(1), cancellationToken);
            }
        }
    }
}

internal sealed class Consumer(IConnectionPool pool, System.Threading.Channels.ChannelReader<int> orders)
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await foreach (var order in orders.ReadAllAsync(cancellationToken))
        {
            await using var lease = await pool.RentAsync(cancellationToken);
            await lease.Connection.ExecuteAsync("INSERT INTO done VALUES (@order)", new { order });
        }
    }
}

internal sealed class HoldingConsumer(IConnectionPool pool, System.Threading.Channels.ChannelReader<int> orders)
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        while (true)
        {
            var order = await orders.ReadAsync(cancellationToken); // expect: SFP0005
            await lease.Connection.ExecuteAsync("INSERT INTO done VALUES (@order)", new { order });
        }
    }
}

internal sealed class Parallelism(IConnectionPool pool)
{
    public Task RunAsync(int[] ids, CancellationToken cancellationToken) => Parallel.ForEachAsync(ids, cancellationToken, async (id, token) =>
    {
        await using var lease = await pool.RentAsync(token);
        await lease.Connection.ExecuteAsync("SELECT @id", new { id });
    });
}

internal sealed class LoopLeak(IConnectionPool pool)
{
    public async Task RunAsync(int[] ids)
    {
        foreach (var id in ids)
        {
            var lease = await pool.RentAsync(); // expect: SFP0001
            await lease.Connection.ExecuteAsync("SELECT @id", new { id });
        }
    }
}

internal sealed class ConditionalLeak(IConnectionPool pool)
{
    public async Task RunAsync(bool commit)
    {
        var connection = await pool.OpenConnectionAsync(); // expect: SFP0001
        if (commit)
        {
            await connection.CloseAsync();
        }
    }
}

internal sealed class SecondPool(ConnectionPool orders, ConnectionPool audit)
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await using var one = await orders.RentAsync(cancellationToken);
        await using var two = await audit.RentAsync(cancellationToken);
        await two.Connection.ExecuteAsync("SELECT 1");
    }
}

internal sealed class SamePool(ConnectionPool orders)
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await using var one = await orders.RentAsync(cancellationToken);
        await using var two = await orders.RentAsync(cancellationToken); // expect: SFP0004
        await two.Connection.ExecuteAsync("SELECT 1");
    }
}
