using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Poolers;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>What the pool opens beside its places, while nobody answers: never a second one of a kind.</summary>
public sealed class ConnectionsBesideTests
{
    private const int MaxSize = 4;
    private const int PoolerFound = 141;

    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(25);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Right after a session begins Npgsql would ask for the server's types, and there it does not heed a cancelled token for seconds.</summary>
    [Fact]
    [Trait("Conformance", "51")]
    public async Task ControlConnection_ServerGoesSilentAfterItHasLetItIn_IsGoneBeforeTheNextOneIsOpened()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(options => options.ConnectTimeout = TimeSpan.FromSeconds(2), proxy: proxy);
        await server.Pool.FillAsync(1, Cancellation);
        proxy.ForgetPeaks();
        proxy.Delay = TimeSpan.FromMilliseconds(200);

        var first = Assert.ThrowsAnyAsync<PoolException>(() => server.Pool.GetServerReportAsync(Cancellation));
        await Eventually.True(() => proxy is { OpenConnections: 2, Connecting: 0 }, "the server has let it in", _bound);
        proxy.Stall();
        await first;
        await Assert.ThrowsAnyAsync<PoolException>(() => server.Pool.GetServerReportAsync(Cancellation));

        Assert.Equal(2, proxy.PeakConnections);
        proxy.Delay = TimeSpan.Zero;
        proxy.Resume();
        await Eventually.True(async () => await server.Pool.GetServerReportAsync(Cancellation) is not null, "it answers again", _bound);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Survey_ItsConnectionHasNoAnswer_WhoeverElseIsOpeningStartsNone(bool blocking)
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);
        await using var proxy = TcpProxy.Start(gateway.ConnectionString);
        var builds = 0;
        await using var server = await PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.MaxConcurrentOpens) = (MaxSize, MaxSize);
                (options.ConnectTimeout, options.AcquireTimeout) = (TimeSpan.FromSeconds(2), _bound);
                options.ConfigureDataSource = _ =>
                {
                    // The second one is that of the survey.
                    if (Interlocked.Increment(ref builds) == 2)
                    {
                        SpinWait.SpinUntil(() => proxy is { OpenConnections: MaxSize, Connecting: 0 }, _bound);
                        proxy.SilenceNew = true;
                    }
                };
            },
            server: gateway.ConnectionString,
            proxy: proxy);

        var rents = Enumerable.Range(0, MaxSize).Select(_ => blocking
            ? Task.Factory.StartNew(() => server.Pool.Rent(), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default)
            : server.Pool.RentAsync(Cancellation).AsTask()).ToArray();
        var leases = await Task.WhenAll(rents).WaitAsync(_bound, TimeProvider.System, Cancellation);

        Assert.Equal(MaxSize + 1, proxy.PeakConnections);
        foreach (var lease in leases)
        {
            Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
            await lease.DisposeAsync();
        }
    }

    /// <summary>Its backend goes to the next client, which is no proof that the two share it: taken for one, no lease of the pool would be reset.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Survey_TheFirstConnectionDiesMeanwhile_IsMadeAgainWithTheNext(bool blocking)
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);
        await using var proxy = TcpProxy.Start(gateway.ConnectionString);
        var builds = 0;
        await using var server = await PoolOnServer.CreateAsync(
            options => options.ConfigureDataSource = _ =>
            {
                // The second one is that of the survey.
                if (Interlocked.Increment(ref builds) == 2)
                {
                    proxy.CloseAll();
                    Eventually.True(() => HasNoClientAsync(gateway.Bouncer!), "the pooler has seen it", _bound).GetAwaiter().GetResult();
                }
            },
            server: gateway.ConnectionString,
            proxy: proxy);

        await using var lease = await (blocking ? Task.Run(() => server.Pool.Rent(), Cancellation) : server.Pool.RentAsync(Cancellation).AsTask());

        Assert.Contains("leaves a server session", Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == PoolerFound).Message, StringComparison.Ordinal);
    }

    /// <summary>One that never comes back must not keep the others from asking for ever.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Survey_ItsConnectionHangsInCodeOfTheUsers_TheNextGenerationAsksAllTheSame(bool blocking, bool holdsThread)
    {
        var hang = new Hang();
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);
        await using var server = await PoolOnServer.CreateAsync(
            options =>
            {
                options.ConnectTimeout = TimeSpan.FromSeconds(2);
                hang.Install(options, "initializer", holdsThread, "");
                var install = options.ConfigureDataSource!;
                var builds = 0;
                options.ConfigureDataSource = builder =>
                {
                    install(builder);

                    // The second one is that of the survey.
                    if (Interlocked.Increment(ref builds) == 2)
                    {
                        hang.Next(1);
                    }
                };
            },
            server: gateway.ConnectionString);
        try
        {
            await RentAsync();
            Assert.Equal(1, hang.Hanging);
            Assert.Contains("did not let itself be asked", Assert.Single(Findings()), StringComparison.Ordinal);

            server.Pool.Clear();
            await RentAsync();

            Assert.Equal(1, hang.Hanging);
            Assert.Contains("leaves a server session", Findings()[^1], StringComparison.Ordinal);
        }
        finally
        {
            hang.LetGo();
        }

        string[] Findings() => [.. server.Logs.Entries.Where(entry => entry.EventId.Id == PoolerFound).Select(entry => entry.Message)];

        async Task RentAsync()
        {
            await using var lease = await (blocking ? Task.Run(() => server.Pool.Rent(), Cancellation) : server.Pool.RentAsync(Cancellation).AsTask());
            Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        }
    }

    private static async Task<bool> HasNoClientAsync(PgBouncerServer bouncer)
    {
        // But for who asks.
        var clients = await bouncer.CommandAsync("SHOW CLIENTS", Cancellation);
        return clients.All(client => client.Contains("pgbouncer"));
    }
}
