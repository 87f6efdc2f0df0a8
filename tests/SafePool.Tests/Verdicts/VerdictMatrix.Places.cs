using System.Diagnostics;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Verdicts;

/// <summary>Causes in which places are kept without a lease, or leases by others than those who rented them.</summary>
internal static partial class VerdictMatrix
{
    private static readonly ActivitySource _requests = new($"{nameof(VerdictMatrix)}-{Environment.ProcessId}");

    /// <summary>A hook that takes its time with each of many short leases.</summary>
    private static async Task<PoolException> OfSlowHookAsync(Action<ConnectionPoolOptions, Func<NpgsqlConnection, CancellationToken, ValueTask>> install)
    {
        await using var scene = await SceneAsync(
            2, options => install(options, async (_, token) => await Task.Delay(TimeSpan.FromMilliseconds(400), TimeProvider.System, token)));
        scene.Start(20, async service =>
        {
            while (true)
            {
                await service.CountAsync(0.005);
            }
        });
        await Eventually.True(() => scene.Snapshot.Waiting > 10, "they are at it");
        return await scene.FailAsync();
    }

    /// <summary>Leases that are returned while the server says nothing: what a return says to it gets no answer.</summary>
    private static async Task<PoolException> OfReturnsAsync(bool isInTransaction)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var scene = await SceneAsync(
            2,
            options => (options.AcquireTimeout, options.Reset) = (TimeSpan.FromSeconds(0.7), isInTransaction ? SessionReset.Rollback : SessionReset.Strict),
            proxy: proxy);
        var leases = await scene.Pool.RentAsync(2, CancellationToken.None);
        foreach (var lease in leases)
        {
            await lease.DoAsync(isInTransaction ? "BEGIN" : "SELECT 1");
        }

        proxy.Stall();
        var returns = Task.WhenAll(leases.Select(lease => Task.Run(async () => await lease.DisposeAsync())));
        try
        {
            await Eventually.True(() => scene.Snapshot.Holders.IsEmpty, "they are on their way back");
            return await scene.FailAsync();
        }
        finally
        {
            proxy.ResetAll();
            proxy.Resume();
            await returns;
        }
    }

    /// <summary>Some of its queries run, the others wait for a lease: none of them for one of the others' leases.</summary>
    private static async Task<PoolException> OfOneRequestAsync()
    {
        using var listener = new ActivityListener { ShouldListenTo = heard => heard == _requests, Sample = (ref _) => ActivitySamplingResult.AllData };
        ActivitySource.AddActivityListener(listener);
        await using var scene = await SceneAsync(3, Plain);
        using var request = _requests.StartActivity("GET /dashboard");
        await HoldAsync(scene, (3, Query));
        await scene.BusyAsync(3);
        return await scene.FailAsync();
    }

    /// <summary>A loop that rents for its workers. They come to their lease a little later, and keep it.</summary>
    private static async Task<PoolException> HandOnAsync()
    {
        await using var scene = await SceneAsync(3, options => options.Leaks.NestedRents = NestedRentPolicy.Warn);
        var end = new TaskCompletionSource();
        var workers = new List<Task>();
        try
        {
            for (var item = 0; item < 3; item++)
            {
                var lease = await scene.Pool.RentAsync(new RentOptions { AcquireTimeout = _patient });
                workers.Add(Task.Run(() => WorkAsync(lease, end.Task)));
            }

            return await scene.FailAsync();
        }
        finally
        {
            end.SetResult();
            await Task.WhenAll(workers);
        }
    }

    private static async Task WorkAsync(Lease lease, Task end)
    {
        await using var given = lease;
        await Task.Delay(TimeSpan.FromMilliseconds(600), TimeProvider.System);
        await given.DoAsync("SELECT 1");
        await end;
    }
}
