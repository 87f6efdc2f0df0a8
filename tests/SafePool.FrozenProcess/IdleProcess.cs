namespace SafePool.FrozenProcess;

/// <summary>A service between two requests: all its connections are idle, or leased with nothing running on them.</summary>
internal static class IdleProcess
{
    public static async Task RunAsync(ConnectionPool pool, int connections)
    {
        await RequestAsync(pool, connections);
        Console.WriteLine("idle");
        Console.ReadLine();
        await SayAsync(() => RequestAsync(pool, connections));
    }

    /// <summary>The same with all connections leased meanwhile, returned unused, and then used.</summary>
    public static async Task HoldAsync(ConnectionPool pool, int connections)
    {
        var release = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var rented = new SemaphoreSlim(0);
        var holding = Task.WhenAll(Enumerable.Range(0, connections).Select(async _ =>
        {
            await using var lease = await pool.RentAsync();
            rented.Release();
            await release.Task;
        }));
        for (var lease = 0; lease < connections; lease++)
        {
            await rented.WaitAsync();
        }

        Console.WriteLine("held");
        Console.ReadLine();
        release.SetResult();
        await holding;
        await SayAsync(() => RequestAsync(pool, connections));
    }

    private static async Task SayAsync(Func<Task> request)
    {
        try
        {
            await request();
            Console.WriteLine("served");
        }
        catch (Exception error)
        {
            Console.WriteLine($"failed: {error.Message.ReplaceLineEndings(" ")}");
        }
    }

    private static Task RequestAsync(ConnectionPool pool, int requests)
        => Task.WhenAll(Enumerable.Range(0, requests).Select(async _ =>
        {
            await using var lease = await pool.RentAsync();
            await using var command = lease.CreateCommand("SELECT pg_sleep(0.1)");
            await command.ExecuteScalarAsync();
        }));
}
