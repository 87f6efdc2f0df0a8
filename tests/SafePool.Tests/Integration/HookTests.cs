using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class HookTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task LeaseRented_SetsARole_OnEveryLeaseBeforeItsUserSeesIt(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.LeaseRented = async (connection, cancellationToken) =>
            {
                await using var command = new NpgsqlCommand("SET ROLE pg_monitor", connection);
                await command.ExecuteNonQueryAsync(cancellationToken);
            };
        });

        for (var round = 0; round < 3; round++)
        {
            await using var lease = blocking ? server.Pool.Rent() : await server.Pool.RentAsync(Cancellation);
            Assert.Equal("pg_monitor", await lease.AskAsync<string>("SELECT current_user::text"));
            await lease.DoAsync("RESET ROLE");
        }

        Assert.True(server.Pool.TryRent(out var last));
        Assert.Equal("pg_monitor", last.Ask<string>("SELECT current_user::text"));
        last.Dispose();
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "99")]
    public async Task LeaseRented_Throws_RetiresTheConnectionFreesThePlaceAndTellsTheCaller(bool blocking)
    {
        var fails = true;
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.LeaseRented = async (_, _) =>
            {
                await Task.Yield();
                if (fails)
                {
                    throw new NotSupportedException("the hook's own");
                }
            };
        });

        for (var round = 0; round < 3; round++)
        {
            var error = blocking
                ? Assert.Throws<NotSupportedException>(() => server.Pool.Rent())
                : await Assert.ThrowsAsync<NotSupportedException>(async () => await server.Pool.RentAsync(Cancellation));
            Assert.Equal("the hook's own", error.Message);
            Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
        }

        await server.SessionsBecomeAsync(0);
        fails = false;
        await using var lease = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        Assert.Equal((4L, 3L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "44")]
    [Trait("Conformance", "99")]
    public async Task LeaseReturning_Throws_RetiresTheConnectionFreesThePlaceAndIsLogged(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.LeaseReturning = (_, _) => throw new NotSupportedException("the hook's own");
        });
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();

        await ReturnAsync(lease, blocking);

        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
        var entry = Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == 115);
        Assert.Contains("LeaseReturning", entry.Message, StringComparison.Ordinal);
        Assert.IsType<NotSupportedException>(entry.Exception);
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.NotEqual(session, next.Session());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "44")]
    public async Task LeaseReturning_LeavesATransactionOpen_TheNextDoesNotSeeIt(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.LeaseReturning = async (connection, _) => await connection.AskAsync<int>("BEGIN; SET LOCAL work_mem = '7MB'; SELECT 1");
        });

        await ReturnAsync(await server.Pool.RentAsync(Cancellation), blocking);

        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("4MB", await next.AskAsync<string>("SHOW work_mem"));
    }

    [Fact]
    [Trait("Conformance", "44")]
    public async Task LeaseReturning_BreaksTheConnection_FreesThePlace()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.LeaseReturning = async (connection, _) => await connection.AskAsync<bool>("SELECT pg_terminate_backend(pg_backend_pid())");
        });

        for (var round = 0; round < 3; round++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            Assert.Equal(round, await lease.AskAsync<int>($"SELECT {round}"));
        }

        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "45")]
    [Trait("Conformance", "99")]
    public async Task PhysicalConnectionOpened_ThrowsOnce_FailsThatOpenOnlyAndLeavesNoSession(bool blocking)
    {
        var opened = 0;
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 2;
            options.PhysicalConnectionOpened = (_, _)
                => Interlocked.Increment(ref opened) == 1 ? throw new NotSupportedException("the hook's own") : ValueTask.CompletedTask;
        });

        _ = blocking
            ? Assert.Throws<NotSupportedException>(() => server.Pool.Rent())
            : await Assert.ThrowsAsync<NotSupportedException>(async () => await server.Pool.RentAsync(Cancellation));

        await server.SessionsBecomeAsync(0);
        var leases = await server.Pool.RentAsync(2, Cancellation);
        Assert.Equal(3, opened);
        Assert.Equal(2, (await server.SessionsAsync()).Length);
        await leases.ReturnAllAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "45")]
    [Trait("Conformance", "99")]
    public async Task PhysicalConnectionOpened_ThrowsAndLeavesAReaderOpen_NobodyGetsThatConnection(bool blocking)
    {
        var refused = 0;
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.PhysicalConnectionOpened = async (connection, cancellationToken) =>
            {
                if (Interlocked.CompareExchange(ref refused, connection.ProcessID, 0) == 0)
                {
                    var reader = await new NpgsqlCommand("SELECT generate_series(1, 1000)", connection).ExecuteReaderAsync(cancellationToken);
                    await reader.ReadAsync(cancellationToken);
                    throw new NotSupportedException("the hook's own");
                }
            };
        });

        var error = blocking
            ? Assert.Throws<NotSupportedException>(() => server.Pool.Rent())
            : await Assert.ThrowsAsync<NotSupportedException>(async () => await server.Pool.RentAsync(Cancellation));

        Assert.Equal("the hook's own", error.Message);
        await using var lease = blocking ? server.Pool.Rent() : await server.Pool.RentAsync(Cancellation);
        Assert.NotEqual(refused, lease.Session());
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        await server.SessionsBecomeAsync(1);
        Assert.Equal((2L, 1L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    [Fact]
    [Trait("Conformance", "45")]
    public async Task PhysicalConnectionOpened_LeavesAFailedTransaction_NobodyMeetsIt()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.PhysicalConnectionOpened = async (connection, _) =>
            {
                await connection.AskAsync<int>("BEGIN; SELECT 1");
                await Assert.ThrowsAsync<PostgresException>(() => connection.AskAsync<int>("SELECT 1 / 0"));
            };
        });

        Lease lease;
        try
        {
            lease = await server.Pool.RentAsync(Cancellation);
        }
        catch (Exception refused) when (refused is PostgresException or PoolException or InvalidOperationException)
        {
            await Eventually.True(() => server.Snapshot.Leased == 0, "the place is free");
            return;
        }

        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        await lease.DisposeAsync();
    }

    [Fact]
    [Trait("Conformance", "100")]
    public async Task Logger_Throws_HarmsNeitherCallerNorPlace()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        server.Logs.ThrowOnLog = true;

        for (var round = 0; round < 3; round++)
        {
            using var lease = await server.Pool.RentAsync(Cancellation);
            _ = lease.BeginTransaction();
            await lease.DoAsync("SELECT 1");
        }

        Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
        Assert.Equal(3, server.Logs.Entries.Count);
    }

    private static async Task ReturnAsync(Lease lease, bool blocking)
    {
        if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }
}
