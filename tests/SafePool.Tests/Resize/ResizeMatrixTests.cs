using System.Runtime.CompilerServices;
using System.Transactions;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Resize;

/// <summary>What a pool promises holds at every size that it was given later: each way of resizing, and after each all that depends on what "full" means.</summary>
public sealed class ResizeMatrixTests
{
    private const int First = 4;
    private const int Overdue = 100;

    private static readonly TimeSpan _soon = TimeSpan.FromSeconds(5);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>The sizes that follow each other; the pool begins with four connections.</summary>
    public static TheoryData<string, int[]> Ways => new()
    {
        { "down", [2] },
        { "up", [6] },
        { "to one", [1] },
        { "twice", [1, 3] },
    };

    /// <summary>The size changes inside of a scope whose lease holds a connection; what is retired then must not be enlisted in its transaction.</summary>
    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Scope_ThatHasRented_Commits(string way, int[] sizes)
    {
        await using var server = await CreateAsync();
        await FillAsync(server, way);
        var table = $"resized_{Guid.NewGuid():N}";
        await server.AskAsync<int>($"CREATE TABLE {table} (id int); SELECT 1");
        for (var round = 0; round < 4; round++)
        {
            using var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);
            await using (var lease = await server.Pool.RentAsync(Cancellation))
            {
                await lease.DoAsync($"INSERT INTO {table} VALUES ({round})");
            }

            Apply(server, round % 2 == 0 ? sizes : [First]);
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(20), Cancellation);
            scope.Complete();
        }

        await ShrinkAsync(server, sizes);
        Assert.Equal(4, await server.AskAsync<long>($"SELECT count(*) FROM {table}"));
        await server.AskAsync<int>($"DROP TABLE {table}; SELECT 1");
        await AssertServesAsync(server, sizes[^1]);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task DroppedLease_IsTakenBackWithinABudget(string way, int[] sizes)
    {
        await using var server = await CreateAsync(options => options.AcquireTimeout = _soon);
        await ResizeAsync(server, way, sizes);
        var held = await server.Pool.RentAsync(sizes[^1] - 1, Cancellation);
        Drop(server.Pool);

        await using (var next = await server.Pool.RentAsync(Cancellation))
        {
            Assert.Equal(1L, server.Snapshot.TotalReclaimed);
        }

        await held.ReturnAllAsync();
        await AssertServesAsync(server, sizes[^1]);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task OverdueLease_IsReported(string way, int[] sizes)
    {
        await using var server = await CreateAsync(options => options.Leaks.Threshold = TimeSpan.FromMilliseconds(300));
        await ResizeAsync(server, way, sizes);

        await using (await server.Pool.RentAsync(Cancellation))
        {
            await server.Logs.WaitForAsync(entry => entry.EventId.Id == Overdue);
        }

        await AssertServesAsync(server, sizes[^1]);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task AbandonedLeases_MakeRoom(string way, int[] sizes)
    {
        await using var server = await CreateAsync(options =>
        {
            options.AcquireTimeout = _soon;
            (options.Leaks.Threshold, options.Leaks.AbandonAfter) = (TimeSpan.FromMilliseconds(300), TimeSpan.FromMilliseconds(300));
        });
        await ResizeAsync(server, way, sizes);
        var held = await server.Pool.RentAsync(sizes[^1], Cancellation);

        await (await server.Pool.RentAsync(Cancellation)).DisposeAsync();

        await held.ReturnAllAsync();
        await AssertServesAsync(server, sizes[^1]);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Verdict_OnAFullPool_IsAboutItsHolders(string way, int[] sizes)
    {
        await using var server = await CreateAsync();
        await ResizeAsync(server, way, sizes);
        var held = await server.Pool.RentAsync(sizes[^1], Cancellation);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.3), Cancellation);

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(
            () => server.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(300) }, Cancellation).AsTask());

        Assert.Equal((PoolVerdict.IdleHolders, sizes[^1]), (error.Diagnosis.Verdict, error.Diagnosis.Evidence[0].Places));
        Assert.Single(error.Diagnosis.Evidence);
        Assert.Equal(sizes[^1], error.Snapshot.MaxSize);
        await held.ReturnAllAsync();
        await AssertServesAsync(server, sizes[^1]);
    }

    /// <summary>A deadlock fails once nothing has moved for a while, and does not wait for its budget, which is longer than this test has.</summary>
    [Theory]
    [MemberData(nameof(Ways))]
    public async Task NestedRents_ThatWaitForEachOther_FailEarly(string way, int[] sizes)
    {
        await using var server = await CreateAsync(options =>
        {
            options.Leaks.NestedRents = NestedRentPolicy.Warn;
            options.AcquireTimeout = TimeSpan.FromMinutes(5);
        });
        await ResizeAsync(server, way, sizes);
        var allHold = new TaskCompletionSource();
        var holding = 0;

        var outcomes = await Task.WhenAll(Enumerable.Range(0, sizes[^1]).Select(_ => Task.Run(NestAsync)));

        var error = Assert.Single(outcomes.OfType<PoolExhaustedException>());
        Assert.Equal(PoolVerdict.NestedRents, error.Diagnosis.Verdict);
        await AssertServesAsync(server, sizes[^1]);

        async Task<Exception?> NestAsync()
        {
            await using var outer = await server.Pool.RentAsync(Cancellation);
            if (Interlocked.Increment(ref holding) == sizes[^1])
            {
                allHold.SetResult();
            }

            await allHold.Task;
            return await Record.ExceptionAsync(async () => await (await server.Pool.RentAsync(Cancellation)).DisposeAsync());
        }
    }

    /// <summary>Not when it comes: then somebody else holds a lease, and waits for nothing. But that one's place goes with it.</summary>
    [Fact]
    public async Task NestedRent_ThePlaceThatItWaitsForIsGone_FailsEarly()
    {
        await using var server = await CreateAsync(options =>
        {
            options.MaxSize = 2;
            options.Leaks.NestedRents = NestedRentPolicy.Warn;
            options.AcquireTimeout = TimeSpan.FromMinutes(5);
        });
        var other = await Task.Run(async () => await server.Pool.RentAsync(Cancellation), Cancellation);
        var nesting = Task.Run(
            async () =>
            {
                await using var outer = await server.Pool.RentAsync(Cancellation);
                server.Pool.Reconfigure(options => options.MaxSize = 1);
                return await Record.ExceptionAsync(async () => await (await server.Pool.RentAsync(Cancellation)).DisposeAsync());
            },
            Cancellation);
        await Eventually.True(() => server.Snapshot.Waiting == 1, "the nested rent waits");

        // By then every return sees to it that the pool shrinks.
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1), Cancellation);
        await other.DisposeAsync();

        var error = Assert.IsType<PoolExhaustedException>(await nesting.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System, Cancellation));
        Assert.Equal(PoolVerdict.NestedRents, error.Diagnosis.Verdict);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task WarmUp_ReachesTheMinimum(string way, int[] sizes)
    {
        await using var server = await CreateAsync();
        await ResizeAsync(server, way, sizes);
        server.Pool.Clear();

        server.Pool.Reconfigure(options => options.MinSize = sizes[^1]);

        await Eventually.True(() => server.Snapshot.Idle == sizes[^1], "the minimum is there");
        await AssertServesAsync(server, sizes[^1]);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Pause_LeavesNothing(string way, int[] sizes)
    {
        await using var server = await CreateAsync();
        await ResizeAsync(server, way, sizes);

        await server.Pool.PauseAsync(Cancellation);
        await server.SessionsBecomeAsync(0);
        var waiting = server.UseAsync(Cancellation);
        server.Pool.Resume();

        await waiting;
        await AssertServesAsync(server, sizes[^1]);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Clear_ReplacesAll(string way, int[] sizes)
    {
        await using var server = await CreateAsync();
        await ResizeAsync(server, way, sizes);
        var before = await server.SessionsAsync();

        server.Pool.Clear();

        await AssertServesAsync(server, sizes[^1]);
        Assert.Empty(before.Intersect(await server.SessionsAsync()));
    }

    /// <summary>The server has room for fewer than the pool may have; one of these was dropped.</summary>
    [Theory]
    [MemberData(nameof(Ways))]
    public async Task FullServer_ADroppedLeaseIsTakenBackWithinABudget(string way, int[] sizes)
    {
        await using var own = await OwnRole.CreateAsync(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.WatchServer, options.AcquireTimeout) = (First, false, _soon), own.Use);
        await ResizeAsync(server, way, sizes);
        var room = Math.Max(1, sizes[^1] - 1);
        server.Pool.Clear();
        await server.SessionsBecomeAsync(0);
        await own.LimitAsync("ROLE", room);
        var held = await server.Pool.RentAsync(room - 1, Cancellation);
        Drop(server.Pool);

        await using (var next = await server.Pool.RentAsync(Cancellation))
        {
            Assert.Equal(1L, server.Snapshot.TotalReclaimed);
        }

        await held.ReturnAllAsync();
        await own.LimitAsync("ROLE", -1);
        server.Pool.Clear();
        await AssertServesAsync(server, sizes[^1]);
    }

    /// <summary>Sixty sizes between 1 and 12, and 3 in the end, under callers some of whom forget their leases.</summary>
    [Fact]
    public async Task Reconfigure_UnderLoadWithLeaks_EndsAtItsSizeAndServes()
    {
        await using var server = await CreateAsync(options => options.AcquireTimeout = TimeSpan.FromSeconds(10));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        var callers = Enumerable.Range(0, 8).Select(_ => Task.Run(() => CallAsync(server, stop.Token), Cancellation)).ToArray();
        for (var i = 0; i < 60; i++)
        {
            server.Pool.Reconfigure(options => options.MaxSize = 1 + (i * 7 % 12));
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(30), Cancellation);
        }

        server.Pool.Reconfigure(options => options.MaxSize = 3);
        await stop.CancelAsync();
        await Task.WhenAll(callers);

        await AssertServesAsync(server, 3);
    }

    private static async Task CallAsync(PoolOnServer server, CancellationToken stop)
    {
        for (var i = 0; !stop.IsCancellationRequested; i++)
        {
            try
            {
                if (i % 40 == 39)
                {
                    Drop(server.Pool);
                }
                else
                {
                    await using var lease = await server.Pool.RentAsync(stop);
                    await lease.DoAsync("SELECT 1");
                }
            }
            catch (Exception refused) when (refused is PoolExhaustedException or OperationCanceledException)
            {
                // All were forgotten, and the next collection was not yet due.
            }
        }
    }

    private static Task<PoolOnServer> CreateAsync(Action<ConnectionPoolOptions>? options = null)
        => PoolOnServer.CreateAsync(settled =>
        {
            (settled.MaxSize, settled.WatchServer) = (First, false);
            options?.Invoke(settled);
        });

    private static async Task FillAsync(PoolOnServer server, string way)
    {
        await server.Pool.FillAsync(First, Cancellation);
        Assert.True((await server.SessionsAsync()).Length == First, way);
    }

    private static async Task ResizeAsync(PoolOnServer server, string way, int[] sizes)
    {
        await FillAsync(server, way);
        await ShrinkAsync(server, sizes);
    }

    private static void Apply(PoolOnServer server, int[] sizes)
        => Array.ForEach(sizes, size => server.Pool.Reconfigure(options => options.MaxSize = size));

    private static async Task ShrinkAsync(PoolOnServer server, int[] sizes)
    {
        Apply(server, sizes);
        await Eventually.True(async () => (await server.SessionsAsync()).Length <= sizes[^1], $"there are no more than {sizes[^1]}");
    }

    /// <summary>As many at once as its size says, not one more, and the totals agree with what the server sees.</summary>
    private static async Task AssertServesAsync(PoolOnServer server, int size)
    {
        var leases = await server.Pool.RentAsync(size, Cancellation);
        await using (var oneMore = await server.Pool.TryRentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(50) }, Cancellation))
        {
            Assert.False(oneMore.Succeeded);
        }

        await leases.ReturnAllAsync();
        await server.SessionsBecomeAsync(size);
        var now = server.Snapshot;
        Assert.Equal((size, size, size, 0), ((int)(now.TotalOpened - now.TotalClosed), now.Idle, now.MaxSize, now.Leased + now.Quarantined));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
#pragma warning disable SFP0001 // That is the point.
    private static void Drop(ConnectionPool pool)
    {
        var lease = pool.Rent();
        lease.Do("SELECT 1");
    }
#pragma warning restore SFP0001
}
