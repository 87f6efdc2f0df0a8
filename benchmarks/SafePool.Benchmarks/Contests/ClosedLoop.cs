namespace SafePool.Benchmarks.Contests;

/// <summary>Workers that begin anew as soon as they are done, until the time is up.</summary>
internal static class ClosedLoop
{
    /// <param name="workers">How many.</param>
    /// <param name="duration">For how long.</param>
    /// <param name="operate">One operation of one worker, which is given by its number.</param>
    /// <param name="serverProcessor">Reads the processor time of the server.</param>
    /// <param name="measuresLatency">Whether each is timed: two more readings of the clock.</param>
    public static async Task<Turn> RunAsync(int workers, TimeSpan duration, Func<int, ValueTask> operate, Func<TimeSpan> serverProcessor, bool measuresLatency)
    {
        var stop = new Stop();
        var latencies = measuresLatency ? Enumerable.Range(0, workers).Select(_ => new List<TimeSpan>(1 << 14)).ToArray() : [];
        var (allocated, client, server) = (GC.GetTotalAllocatedBytes(), Environment.CpuUsage.TotalTime, serverProcessor());
        var begun = TimeProvider.System.GetTimestamp();
        var running = Enumerable.Range(0, workers)
            .Select(worker => Task.Run(() => measuresLatency ? WorkAsync(worker, operate, stop, latencies[worker]) : WorkAsync(worker, operate, stop)))
            .ToArray();

        // Not on a thread of the pool: those are what the workers fight for.
        await Task.Factory.StartNew(() => stop.After(duration), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        var counts = await Task.WhenAll(running);
        return new Turn(
            counts.Sum(),
            TimeProvider.System.GetElapsedTime(begun),
            (double)counts.Min() / counts.Max(),
            GC.GetTotalAllocatedBytes() - allocated,
            Environment.CpuUsage.TotalTime - client,
            serverProcessor() - server,
            [.. latencies.SelectMany(of => of).Order()]);
    }

    private static async Task<long> WorkAsync(int worker, Func<int, ValueTask> operate, Stop stop)
    {
        var count = 0L;
        while (!stop.IsRequested)
        {
            await operate(worker);
            count++;
        }

        return count;
    }

    private static async Task<long> WorkAsync(int worker, Func<int, ValueTask> operate, Stop stop, List<TimeSpan> latencies)
    {
        while (!stop.IsRequested)
        {
            var begun = TimeProvider.System.GetTimestamp();
            await operate(worker);
            latencies.Add(TimeProvider.System.GetElapsedTime(begun));
        }

        return latencies.Count;
    }

    private sealed class Stop
    {
        private volatile bool _isRequested;

        public bool IsRequested => _isRequested;

        public void After(TimeSpan duration)
        {
            using var never = new ManualResetEventSlim();
            never.Wait(duration);
            _isRequested = true;
        }
    }
}
