using SafePool.LoadTests.Contenders;

namespace SafePool.LoadTests;

/// <summary>Requests that arrive on schedule, whether or not earlier ones are done.</summary>
internal static class Load
{
    // What is due at a tick begins with it, so a request is late by up to this much, and by what the machine adds.
    private static readonly TimeSpan _tick = TimeSpan.FromMilliseconds(2);
    private static readonly TimeSpan _interval = TimeSpan.FromSeconds(1) / Workload.RequestsPerSecond;

    /// <summary>Sends requests until told to stop, then waits for those under way.</summary>
    /// <returns>All of them; those that never ended have no end.</returns>
    public static async Task<IReadOnlyList<Request>> RunAsync(IContender contender, CancellationToken stop)
    {
        List<Request> requests = [];
        List<Task> running = [];

        // On a thread of its own: a contender that blocks the thread pool's delays its requests, not their arrival.
        await Task.Factory.StartNew(Send, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Task.WhenAny(Task.WhenAll(running), Task.Delay(Workload.Patience, TimeProvider.System, CancellationToken.None));
        return requests;

        void Send()
        {
            var begun = Clock.Now;
            while (!stop.WaitHandle.WaitOne(_tick))
            {
                for (var due = Due(begun, requests.Count); due <= Clock.Now; due = Due(begun, requests.Count))
                {
                    var request = new Request(due);
                    requests.Add(request);
                    running.Add(request.RunAsync(contender));
                }
            }
        }
    }

    private static long Due(long begun, int number) => Clock.After(begun, _interval * number);
}
