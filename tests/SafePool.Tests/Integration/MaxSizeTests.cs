using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class MaxSizeTests
{
    private const int MaxSize = 4;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "3")]
    [Trait("Conformance", "25")]
    public async Task Stress_RentsCancellationsClearsAndBreaks_NeverHasMoreSocketsThanMaxSizeAndTheControlConnection()
    {
        var seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.MinSize, options.AcquireTimeout) = (MaxSize, 1, TimeSpan.FromSeconds(30)), proxy: proxy);

        await Task.WhenAll(
            Enumerable.Range(0, 12).Select(worker => Task.Run(() => WorkAsync(server, new Random(seed + worker)), Cancellation)));

        Assert.True(proxy.PeakConnections <= MaxSize + 1, $"{proxy.PeakConnections} sockets at once, seed {seed}");
        await Outstanding.NoneAsync(server.Pool);
        var last = await server.Pool.RentAsync(MaxSize, Cancellation);
        Assert.Equal(MaxSize, last.Select(lease => lease.Session()).Distinct().Count());
        await last.ReturnAllAsync();
        Assert.True(proxy.OpenConnections <= MaxSize + 1, $"{proxy.OpenConnections} sockets at the end, seed {seed}");
    }

    [Fact]
    [Trait("Conformance", "3")]
    [Trait("Conformance", "25")]
    public async Task Stress_RentsAndCancellations_NeverOpensOneMoreThanMaxSize()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(20);
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (MaxSize, false), proxy: proxy);

        await Task.WhenAll(Enumerable.Range(0, 200).Select(i => Task.Run(
            async () =>
            {
                using var impatience = new CancellationTokenSource(TimeSpan.FromMilliseconds(i % 3 == 0 ? i : 5000), TimeProvider.System);
                try
                {
                    await using var lease = await server.Pool.RentAsync(impatience.Token);
                    await Task.Yield();
                }
                catch (OperationCanceledException)
                {
                }
            },
            Cancellation)));

        Assert.Equal(MaxSize, proxy.PeakConnections);
        Assert.Equal(MaxSize, proxy.TotalAccepted);
        await Eventually.True(() => server.Snapshot is { Leased: 0, Idle: MaxSize, Waiting: 0 }, "all opens have landed");
    }

    private static async Task WorkAsync(PoolOnServer server, Random random)
    {
        for (var i = 0; i < 25; i++)
        {
            using var impatience = new CancellationTokenSource();
            if (random.Next(4) == 0)
            {
                impatience.CancelAfter(random.Next(5));
            }

            try
            {
                await using var lease = random.Next(8) == 0
                    ? server.Pool.Rent()
                    : await server.Pool.RentAsync(impatience.Token);
                await UseAsync(server, lease, random, impatience.Token);
            }
            catch (Exception expected) when (expected is OperationCanceledException or NpgsqlException)
            {
            }
        }
    }

    private static async Task UseAsync(PoolOnServer server, Lease lease, Random random, CancellationToken cancellationToken)
    {
        switch (random.Next(12))
        {
            case 0:
                server.Pool.Clear();
                break;
            case 1:
                await lease.DoAsync("SELECT pg_terminate_backend(pg_backend_pid())");
                break;
            case 2:
                await lease.DoAsync("BEGIN");
                break;
            case 3:
                await using (var command = lease.CreateCommand("SELECT pg_sleep(0.01)"))
                {
                    await command.ExecuteNonQueryAsync(cancellationToken);
                }

                break;
            default:
                Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
                break;
        }
    }
}
