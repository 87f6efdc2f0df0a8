using System.Diagnostics;
using System.Globalization;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.LoadTests.Capacity;

/// <summary>Sixty pools that nobody uses, as one for each tenant: what they cost the process and the server, beside as many of Npgsql's, by turns.</summary>
internal static class IdleCost
{
    private const int Pools = 60;
    private const int Rounds = 3;
    private static readonly TimeSpan _settling = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _watched = TimeSpan.FromSeconds(20);

    public static async Task RunAsync(PostgresServer server)
    {
        Console.WriteLine("| side | connections of each | processor, of one core | sessions |");
        Console.WriteLine("|---|---:|---:|---:|");
        foreach (var size in new[] { 0, 1 })
        {
            for (var round = 0; round < Rounds; round++)
            {
                await SayAsync(server, "nothing", size, () => ValueTask.FromResult<IAsyncDisposable?>(null));
                await SayAsync(server, "raw Npgsql", size, () => RawAsync(server, size));
                await SayAsync(server, "SafePool", size, () => GovernedAsync(server, size));
            }
        }
    }

    private static async Task SayAsync(PostgresServer server, string side, int size, Func<ValueTask<IAsyncDisposable?>> create)
    {
        var pools = new List<IAsyncDisposable>();
        for (var i = 0; i < Pools; i++)
        {
            if (await create() is { } pool)
            {
                pools.Add(pool);
            }
        }

        await Task.Delay(_settling, TimeProvider.System);
        using var process = Process.GetCurrentProcess();
        var (before, begun) = (process.TotalProcessorTime, Clock.Now);
        await Task.Delay(_watched, TimeProvider.System);
        process.Refresh();
        var share = (process.TotalProcessorTime - before) / Clock.Between(begun, Clock.Now);
        var sessions = await SessionsAsync(server);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {side} | {size} | {share:P2} | {sessions} |"));
        foreach (var pool in pools)
        {
            await pool.DisposeAsync();
        }
    }

    private static async ValueTask<IAsyncDisposable?> RawAsync(PostgresServer server, int size)
    {
        var source = NpgsqlDataSource.Create(Named(server));
        for (var i = 0; i < size; i++)
        {
            await using var connection = await source.OpenConnectionAsync();
        }

        return source;
    }

    private static async ValueTask<IAsyncDisposable?> GovernedAsync(PostgresServer server, int size)
    {
        var pool = ConnectionPool.Create(Named(server), options => options.MinSize = size);
        await pool.WarmUpAsync();
        return pool;
    }

    private static string Named(PostgresServer server)
        => new NpgsqlConnectionStringBuilder(server.ConnectionString) { ApplicationName = "idle-cost" }.ConnectionString;

    private static async Task<long> SessionsAsync(PostgresServer server)
    {
        await using var source = NpgsqlDataSource.Create(server.ConnectionString);
        await using var command = source.CreateCommand("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'idle-cost%'");
        return (long)(await command.ExecuteScalarAsync())!;
    }
}
