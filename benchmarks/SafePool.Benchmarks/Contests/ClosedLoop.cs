namespace SafePool.Benchmarks.Contests;

/// <summary>Workers that begin anew as soon as they are done, until the time is up.</summary>
/// <remarks>What is told begins when all of them are at work: those that begin first have everything to themselves until then.</remarks>
internal static class ClosedLoop
{
    // A counter to a pair of cache lines.
    private const int Stride = 16;

    private static readonly TimeSpan _runUp = TimeSpan.FromMilliseconds(20);

    /// <param name="workers">How many.</param>
    /// <param name="duration">For how long.</param>
    /// <param name="operate">One operation of one worker, which is given by its number.</param>
    /// <param name="serverProcessor">Reads the processor time of the server.</param>
    /// <param name="measuresLatency">Whether each is timed: two more readings of the clock.</param>
    public static async Task<Turn> RunAsync(int workers, TimeSpan duration, Func<int, ValueTask> operate, Func<TimeSpan> serverProcessor, bool measuresLatency)
    {
        var counts = new long[(workers + 1) * Stride];
        var latencies = measuresLatency ? Enumerable.Range(0, workers).Select(_ => new List<TimeSpan>(1 << 12)).ToArray() : [];
        using var stop = new CancellationTokenSource();
        var running = Enumerable.Range(0, workers)
            .Select(worker => Task.Run(() => measuresLatency ? WorkAsync(worker, operate, counts, latencies[worker], stop.Token) : WorkAsync(worker, operate, counts, stop.Token)))
            .ToArray();

        // Not on a thread of the pool: those are what the workers fight for.
        var turn = await Task.Factory.StartNew(Watch, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Task.WhenAll(running);
        return turn with { Latencies = [.. latencies.SelectMany(of => of).Order()] };

        Turn Watch()
        {
            using var never = new ManualResetEventSlim();
            never.Wait(_runUp);
            while (Read().Contains(0))
            {
                never.Wait(1);
            }

            var before = Read();
            var (allocated, client, server) = (GC.GetTotalAllocatedBytes(), Environment.CpuUsage.TotalTime, serverProcessor());
            var begun = TimeProvider.System.GetTimestamp();
            never.Wait(duration);
            var done = Read().Zip(before, (after, then) => after - then).ToArray();
            var elapsed = TimeProvider.System.GetElapsedTime(begun);
            var turn = new Turn(
                done.Sum(), elapsed, (double)done.Min() / done.Max(), GC.GetTotalAllocatedBytes() - allocated, Environment.CpuUsage.TotalTime - client, serverProcessor() - server, []);
            stop.Cancel();
            return turn;
        }

        long[] Read() => [.. Enumerable.Range(1, workers).Select(worker => Volatile.Read(ref counts[worker * Stride]))];
    }

    private static async Task WorkAsync(int worker, Func<int, ValueTask> operate, long[] counts, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await operate(worker);
            counts[(worker + 1) * Stride]++;
        }
    }

    private static async Task WorkAsync(int worker, Func<int, ValueTask> operate, long[] counts, List<TimeSpan> latencies, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var begun = TimeProvider.System.GetTimestamp();
            await operate(worker);
            latencies.Add(TimeProvider.System.GetElapsedTime(begun));
            counts[(worker + 1) * Stride]++;
        }
    }
}
